/** Registers all kernels. */
import './elementwise.js';
import './image.js';
import './matmul.js';
import './normalise.js';
import './reduce.js';
import './shape.js';
