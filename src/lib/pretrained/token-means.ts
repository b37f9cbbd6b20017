/** The mean over the tokens of each image: [N, T, D] to [N, D]. */
export function tokenMeans(tokens: Float32Array, count: number, dim: number): Float32Array {
  const rows = tokens.length / (count * dim);
  const means = new Float32Array(rows * dim); // [N, D]
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < dim; j++) {
      let sum = 0;
      for (let token = 0; token < count; token++) sum += tokens[(row * count + token) * dim + j];
      means[row * dim + j] = sum / count;
    }
  }
  return means;
}
