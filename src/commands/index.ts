/** The verbs, in the order in which a pipeline uses them. Loading one loads neither the others nor any engine. */
import type { ListedVerb } from '../lib/cli/command.js';

export const verbs: readonly ListedVerb[] = [
  {
    name: 'encode-vae',
    summary: 'encode images to latents with a VAE',
    load: async () => (await import('./encode-vae.js')).command,
  },
  {
    name: 'extract-dino',
    summary: 'extract patch features with a frozen encoder',
    load: async () => (await import('./extract-dino.js')).command,
  },
  {
    name: 'encode-text',
    summary: 'encode captions with the text tower of a CLIP',
    load: async () => (await import('./encode-text.js')).command,
  },
  {
    name: 'train',
    summary: 'train a SiT or DiT on latents, aligned with features',
    load: async () => (await import('./train.js')).command,
  },
  {
    name: 'ema',
    summary: 'average the weights of a run after the training',
    load: async () => (await import('./ema.js')).command,
  },
  {
    name: 'sample',
    summary: 'sample images from a checkpoint',
    load: async () => (await import('./sample.js')).command,
  },
  {
    name: 'decode-vae',
    summary: 'decode latents to images with a VAE',
    load: async () => (await import('./decode-vae.js')).command,
  },
  {
    name: 'fid',
    summary: 'measure the Frechet distance between sets of images',
    load: async () => (await import('./fid.js')).command,
  },
  {
    name: 'psnr',
    summary: 'measure what an autoencoder loses of images',
    load: async () => (await import('./psnr.js')).command,
  },
  {
    name: 'merge-stats',
    summary: 'merge the statistics of parts of a set of images',
    load: async () => (await import('./merge-stats.js')).command,
  },
  {
    name: 'cknna',
    summary: 'measure the alignment of two sets of features',
    load: async () => (await import('./cknna.js')).command,
  },
  {
    name: 'extract-hidden',
    summary: "extract a trained model's hidden states",
    load: async () => (await import('./extract-hidden.js')).command,
  },
  {
    name: 'probe',
    summary: 'measure how well classes can be read from features',
    load: async () => (await import('./probe.js')).command,
  },
  {
    name: 'plot',
    summary: 'draw the curves of training logs',
    load: async () => (await import('./plot.js')).command,
  },
  {
    name: 'report',
    summary: 'write a page about runs: curves, samples, settings, numbers',
    load: async () => (await import('./report.js')).command,
  },
  {
    name: 'watch',
    summary: 'watch runs while they train',
    load: async () => (await import('./watch.js')).command,
  },
  {
    name: 'show',
    summary: 'look at images in the terminal, or as a sheet',
    load: async () => (await import('./show.js')).command,
  },
  {
    name: 'pull',
    summary: 'download published weights',
    load: async () => (await import('./pull.js')).command,
  },
  {
    name: 'import',
    summary: 'make ours of official checkpoints and of data',
    load: async () => (await import('./import.js')).command,
  },
  {
    name: 'export',
    summary: 'write checkpoints and streams for other tools',
    load: async () => (await import('./export.js')).command,
  },
  {
    name: 'info',
    summary: 'what a file holds and how it was made',
    load: async () => (await import('./info.js')).command,
  },
  {
    name: 'cat',
    summary: 'join tensor streams into one',
    load: async () => (await import('./cat.js')).command,
  },
  {
    name: 'head',
    summary: 'the first rows of a tensor stream',
    load: async () => (await import('./head.js')).command,
  },
  {
    name: 'tail',
    summary: 'the last rows of a tensor stream',
    load: async () => (await import('./tail.js')).command,
  },
  {
    name: 'select',
    summary: 'some rows and columns of a tensor stream',
    load: async () => (await import('./select.js')).command,
  },
  {
    name: 'shuf',
    summary: 'the rows of a tensor stream in a random order',
    load: async () => (await import('./shuf.js')).command,
  },
  {
    name: 'split',
    summary: 'a tensor stream into two that share no row',
    load: async () => (await import('./split.js')).command,
  },
  {
    name: 'join',
    summary: 'the columns of two tensor streams side by side',
    load: async () => (await import('./join.js')).command,
  },
  {
    name: 'diff',
    summary: 'how two tensor streams, weights or runs differ',
    load: async () => (await import('./diff.js')).command,
  },
  {
    name: 'verify',
    summary: 'check that tensor streams are whole and sane',
    load: async () => (await import('./verify.js')).command,
  },
  {
    name: 'doctor',
    summary: 'check what of this machine can be used',
    load: async () => (await import('./doctor.js')).command,
  },
  {
    name: 'completion',
    summary: 'print a completion script for a shell',
    load: async () => (await import('./completion.js')).completion(verbs),
  },
];
