/** The door to libraries of C. */
import koffi from 'koffi';

// koffi runs a call on a stack of its own, by default smaller than what libraries expect of a C program.
koffi.config({ sync_stack_size: 8 << 20, async_stack_size: 8 << 20 });

export { koffi };
