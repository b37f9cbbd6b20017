/** What plugins say, as errors that a user can act on. */
import { UnavailableError } from '../../errors.js';
import { PjrtError, STATUS } from './c-api.js';

const OUT_OF_MEMORY = /out of memory|failed to allocate/i;
/** The device itself, its driver or the library between them has failed. */
const LOST = /device (is |was )?lost|ECC|CUDA_ERROR|hipError|HIP_ERROR|driver|unknown error/i;
/** Another process has the device for itself: TPUs always have one user, GPUs where their owner set it so. */
const TAKEN = /already in use|in use by|resource busy|busy or unavailable|DEVICE_UNAVAILABLE|EXCLUSIVE/i;
const NO_DEVICE = /no (visible |supported )?(gpu|cuda|hip|rocm|devices?)\b|no .*device found|not find|NO_DEVICE/i;

/** What would have fitted, of how many rows were wanted. */
interface Fit {
  readonly rows: number;
  readonly fit: number;
}

/** Memory of a device has run out; how much was wanted, where that was told. */
export class DeviceMemoryError extends UnavailableError {
  constructor(
    readonly wantedBytes: number | undefined,
    estimate?: Fit,
  ) {
    const amount = wantedBytes === undefined ? '' : `: ${(wantedBytes / 2 ** 20).toFixed(0)} MiB more do not fit`;
    super(`the accelerator is out of memory${amount}`, advice(estimate));
  }
}

/** A plugin does not have all that a program asks for. */
export class NotCompiledError extends UnavailableError {}

function advice(estimate: Fit | undefined): string {
  if (!estimate) return 'lower --batch-size, or end what else runs on it (nvidia-smi)';
  const { rows, fit } = estimate;
  if (fit < 1) return 'not even one row would fit: choose a smaller model, or end what else runs on it (nvidia-smi)';
  return `about ${fit} of ${rows} rows at a time would fit: lower --micro-batch, in training, or --batch-size to that`;
}

/** A plugin's error in our words, if it is the machine's and not our fault; other errors as they are. */
export function asRepaError(error: unknown, platform: string): unknown {
  if (!(error instanceof PjrtError)) return error;
  const { call, status, message } = error;
  const [line] = message.split('\n');
  const isMemory = status === STATUS.resourceExhausted || OUT_OF_MEMORY.test(message);
  if (call === 'Client_Create' && (isMemory || TAKEN.test(message))) {
    return new UnavailableError(
      isMemory
        ? `the accelerator has no memory left for this process: ${line}`
        : `another process has the accelerator: ${line}`,
      'end what else runs on it (nvidia-smi shows it), or choose another by CUDA_VISIBLE_DEVICES',
    );
  }
  if (isMemory) {
    const [, bytes] = /allocate (\d+) bytes/.exec(message) ?? [];
    return new DeviceMemoryError(bytes === undefined ? undefined : Number(bytes));
  }
  if (call === 'Client_Create') {
    const hint = NO_DEVICE.test(message)
      ? 'check that the driver is installed (nvidia-smi, rocm-smi); or use --backend onnx'
      : 'repa doctor says more; or use --backend onnx';
    return new UnavailableError(`the plugin finds no device that it can use: ${line}`, hint);
  }
  if (call === 'Client_Compile' && status === STATUS.unimplemented) {
    return new NotCompiledError(
      `the ${platform} plugin cannot compile what repa computes: ${line}`,
      'a newer plugin may (repa pull); or use --backend onnx',
    );
  }
  const fatal = status === STATUS.internal || status === STATUS.unavailable || status === STATUS.dataLoss;
  if (call !== 'Client_Compile' && fatal && LOST.test(message)) {
    return new UnavailableError(
      `the ${platform} device was lost: ${line}`,
      'the last checkpoint stands: run the same command again to go on from there',
    );
  }
  return error;
}
