/** What an ONNX file holds. */
import { readOnnxFile } from '../formats/onnx-file.js';
import { type Facts, withMetadata } from './facts.js';

export function onnxFacts(file: string): Facts {
  const { producer, opsets, inputs, outputs, operators, weights, parameters, metadata } = readOnnxFile(file);
  const port = ({ name, type, shape }: (typeof inputs)[number]): string =>
    `${name}: ${type} ${shape ? `[${shape.map((size) => (size === -1 ? '?' : size)).join(', ')}]` : 'of any shape'}`;
  const facts = {
    path: file,
    holds: 'ONNX network',
    ...(producer === '' ? {} : { producer }),
    opset: [...opsets].map(([domain, version]) => `${domain || 'ai.onnx'} ${version}`).join(', '),
    inputs: inputs.map(port),
    outputs: outputs.map(port),
    weights,
    parameters,
    operators: Object.fromEntries([...operators].sort(([, a], [, b]) => b - a)),
  };
  return withMetadata(facts, metadata);
}
