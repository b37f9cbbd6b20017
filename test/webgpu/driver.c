/*
 * A driver of Vulkan that passes all calls on to another one, until one fails.
 *
 *   REPA_DRIVER=FILE                          the library of the other driver
 *   REPA_FAULT=FUNCTION:N:RESULT[:COUNT]      from the N-th call of a function on (the first is 0), COUNT of them (all of
 *                                             them, if it is left out) do nothing but give this VkResult
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*function_t)(void);
typedef function_t (*find_t)(void *owner, const char *name);
/* A function of up to 6 arguments, each an integer or an address, that gives a VkResult. */
typedef int32_t (*call_t)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

#define FUNCTIONS(DO) DO(vkCreateDevice) DO(vkAllocateMemory) DO(vkCreateComputePipelines) DO(vkQueueSubmit)

static int32_t fault(const char *name, atomic_int *calls) {
  const char *told = getenv("REPA_FAULT");
  size_t length = strlen(name);
  int call = atomic_fetch_add(calls, 1), from, result, count = 1 << 30;
  if (!told || strncmp(told, name, length) != 0 || sscanf(told + length, ":%d:%d:%d", &from, &result, &count) < 2) return 0;
  return call >= from && call - from < count ? result : 0;
}

#define DEFINE(name)                                                                                   \
  static call_t real_##name;                                                                           \
  static int32_t own_##name(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {   \
    static atomic_int calls;                                                                           \
    int32_t result = fault(#name, &calls);                                                             \
    return result ? result : real_##name(a, b, c, d, e, f);                                            \
  }
FUNCTIONS(DEFINE)

static function_t own(const char *name, function_t real) {
#define CHOOSE(known)                       \
  if (real && strcmp(name, #known) == 0) {  \
    real_##known = (call_t)real;            \
    return (function_t)own_##known;         \
  }
  FUNCTIONS(CHOOSE)
  return real;
}

static function_t other(const char *name) {
  static void *library;
  if (!library) library = dlopen(getenv("REPA_DRIVER"), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  return (function_t)dlsym(library, name);
}

static find_t find_of_device;
static function_t own_of_device(void *device, const char *name) { return own(name, find_of_device(device, name)); }

/* What the loader of Vulkan asks a driver for. */
function_t vk_icdGetInstanceProcAddr(void *instance, const char *name) {
  function_t real = ((find_t)other("vk_icdGetInstanceProcAddr"))(instance, name);
  if (!real || strcmp(name, "vkGetDeviceProcAddr") != 0) return own(name, real);
  find_of_device = (find_t)real;
  return (function_t)own_of_device;
}
function_t vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
  return ((find_t)other("vk_icdGetPhysicalDeviceProcAddr"))(instance, name);
}
int32_t vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
  return ((int32_t(*)(uint32_t *))other("vk_icdNegotiateLoaderICDInterfaceVersion"))(version);
}
