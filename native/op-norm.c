/*
 * repa.GroupNorm: x f [B, C, H, W], optional scale and shift f of C numbers -> f [B, C, H, W], or where `paired` says
 * it pairs of bf16 (in the place of f) [B, C / 2, H, W], as repa.Convolution takes them.
 */
#include "host.h"
#include "norm.h"
#include "operations.h"

static OrtStatus *create(const struct OrtCustomOp *op, OrtTable table, const OrtKernelInfo *info, void **out) {
  (void)op;
  (void)table;
  group_norm_t n = {0};
  size_t silu, paired;
  TRY(integer(info, "groups", &n.groups));
  TRY(integer(info, "silu", &silu));
  TRY(integer(info, "paired", &paired));
  TRY(KernelInfoGetAttribute_float(api)(info, "epsilon", &n.epsilon));
  REFUSE_UNLESS(n.groups > 0, "GroupNorm: there are no groups");
  n.is_silu = (int)silu;
  n.is_paired = (int)paired;
  return keep(&n, sizeof n, out);
}

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
  group_norm_t n = *(const group_norm_t *)kernel;
  tensor_t x, scale, shift;
  TRY(input(context, 0, &x));
  TRY(input(context, 1, &scale));
  TRY(input(context, 2, &shift));
  REFUSE_UNLESS(x.rank == 4, "GroupNorm: images have four axes");
  n.batch = (size_t)x.dims[0];
  n.channels = (size_t)x.dims[1];
  n.places = (size_t)(x.dims[2] * x.dims[3]);
  REFUSE_UNLESS(n.channels % ((n.is_paired ? 2 : 1) * n.groups) == 0, "GroupNorm: the channels do not divide into groups");
  REFUSE_UNLESS((!scale.data || count_of(&scale) == n.channels) && (!shift.data || count_of(&shift) == n.channels),
                "GroupNorm: the operands' shapes do not fit");
  n.x = x.data;
  n.scale = scale.data;
  n.shift = shift.data;
  if (n.is_paired) x.dims[1] /= 2;
  TRY(output(context, 0, x.dims, 4, (float **)&n.y));
  group_norm(&n, on_session_threads, context);
  return 0;
}

static const char *name(const struct OrtCustomOp *op) { (void)op; return "GroupNorm"; }
static size_t three(const struct OrtCustomOp *op) { (void)op; return 3; }
static int presence(const struct OrtCustomOp *op, size_t i) { (void)op; return i < 1 ? ORT_REQUIRED : ORT_OPTIONAL; }

const struct OrtCustomOp GROUP_NORM = OPERATION(name, three, host_float, presence, host_one, create, compute);
