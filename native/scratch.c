/* Memory that a thread keeps from task to task, until it ends. */
#include "scratch.h"
#include <pthread.h>
#include <stdlib.h>

typedef struct {
  void *data;
  size_t size;
} piece_t;
typedef struct {
  piece_t pieces[SCRATCHES];
} memory_t;

static pthread_key_t memory_key;
static pthread_once_t memory_once = PTHREAD_ONCE_INIT;

static void release(void *pointer) {
  memory_t *memory = pointer;
  for (int i = 0; i < SCRATCHES; i++) free(memory->pieces[i].data);
  free(memory);
}
static void make_key(void) { pthread_key_create(&memory_key, release); }

/* Null when memory runs out. */
static memory_t *memory(void) {
  pthread_once(&memory_once, make_key);
  memory_t *mine = pthread_getspecific(memory_key);
  if (mine) return mine;
  mine = calloc(1, sizeof *mine);
  if (mine && pthread_setspecific(memory_key, mine) != 0) {
    free(mine);
    return 0;
  }
  return mine;
}

char *scratch(int kind, size_t size) {
  const size_t unit = 1 << 18;
  memory_t *mine = memory();
  if (!mine) return 0;
  piece_t *piece = &mine->pieces[kind];
  if (!piece->data || piece->size < size) {
    free(piece->data);
    piece->size = (size / unit + 1) * unit;
    piece->data = aligned_alloc(1 << 12, piece->size);
    if (!piece->data) piece->size = 0;
  }
  return piece->data;
}
