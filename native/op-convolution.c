/*
 * repa.Convolution: x f [B, I, H, W], weights packed ahead of [O, I, kh, kw] (pairs of bf16 in the place of f), bias f
 * [O], residual f [B, O, h, w] -> f [B, O, h, w] = act(convolution + bias) + residual, of operands rounded to bf16.
 * Where `paired` says it x is pairs of bf16 of channels that are neighbours (in the place of f) [B, I / 2, H, W]; where
 * `enlarged` says it each pixel of x is 2 x 2 of what is convolved.
 */
#include "convolution.h"
#include "host.h"
#include "operations.h"
#include <string.h>

typedef struct {
  convolution_t c;
  int is_paired;
} description_t;

static OrtStatus *create(const struct OrtCustomOp *op, OrtTable table, const OrtKernelInfo *info, void **out) {
  (void)op;
  (void)table;
  convolution_t c = {0};
  size_t paired, enlarged;
  const struct {
    const char *name;
    size_t *value;
  } attributes[] = {{"outChannels", &c.out_channels}, {"kernelHeight", &c.kernel_height}, {"kernelWidth", &c.kernel_width},
                    {"outHeight", &c.out_height},     {"outWidth", &c.out_width},         {"stride", &c.stride},
                    {"dilation", &c.dilation},        {"top", &c.top},                    {"left", &c.left}};
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
    TRY(integer(info, attributes[i].name, attributes[i].value));
  TRY(activation(info, &c.act));
  REFUSE_UNLESS(c.stride > 0 && c.dilation > 0 && c.kernel_height > 0 && c.kernel_width > 0,
                "Convolution: a stride, a dilation or a kernel is 0");
  TRY(integer(info, "paired", &paired));
  TRY(integer(info, "enlarged", &enlarged));
  c.is_enlarged = (int)enlarged;
  description_t d = {c, (int)paired};
  return keep(&d, sizeof d, out);
}

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
  const description_t *d = kernel;
  convolution_t c = d->c;
  tensor_t x, weights, bias, residual;
  TRY(input(context, 0, &x));
  TRY(input(context, 1, &weights));
  TRY(input(context, 2, &bias));
  TRY(input(context, 3, &residual));
  REFUSE_UNLESS(x.rank == 4, "Convolution: images have four axes");
  c.batch = (size_t)x.dims[0];
  c.in_channels = (size_t)x.dims[1] * (d->is_paired ? 2 : 1);
  c.height = (size_t)x.dims[2];
  c.width = (size_t)x.dims[3];
  REFUSE_UNLESS(weights.rank == 1 && (size_t)weights.dims[0] * PAIR == convolution_packed_bytes(&c) &&
                    (!bias.data || (bias.rank == 1 && (size_t)bias.dims[0] == c.out_channels)),
                "Convolution: the operands' shapes do not fit");
  c.x = d->is_paired ? 0 : x.data;
  c.pairs = d->is_paired ? x.data : 0;
  c.packed = weights.data;
  c.bias = bias.data;
  c.residual = residual.data;
  const int64_t dims[] = {x.dims[0], (int64_t)c.out_channels, (int64_t)c.out_height, (int64_t)c.out_width};
  REFUSE_UNLESS(!residual.data || !memcmp(dims, residual.dims, sizeof dims), "Convolution: what is added has another shape");
  TRY(output(context, 0, dims, 4, &c.y));
  return convolution(&c, on_session_threads, context) ? out_of_memory() : 0;
}

static const char *name(const struct OrtCustomOp *op) { (void)op; return "Convolution"; }
static size_t four(const struct OrtCustomOp *op) { (void)op; return 4; }
static int presence(const struct OrtCustomOp *op, size_t i) { (void)op; return i < 2 ? ORT_REQUIRED : ORT_OPTIONAL; }

const struct OrtCustomOp CONVOLUTION = OPERATION(name, four, host_float, presence, host_one, create, compute);
