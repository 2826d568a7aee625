/* A stand-in for libcuda.so.1: one device whose memory is the machine's own. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number(const char* name, int otherwise) {
  const char* text = getenv(name);
  return text ? atoi(text) : otherwise;
}

int cuInit(unsigned flags) { (void)flags; return number("FAKE_CUINIT", 0); }
int cuDriverGetVersion(int* version) { *version = 12060; return 0; }
int cuDeviceGetCount(int* count) { *count = number("FAKE_DEVICES", 1); return 0; }
int cuDeviceGet(int* device, int index) { *device = index; return 0; }
int cuDeviceGetName(char* name, int size, int device) { snprintf(name, size, "Fake Orin %d", device); return 0; }
int cuDeviceTotalMem_v2(size_t* size, int device) { (void)device; *size = (size_t)8 << 30; return 0; }
int cuDeviceGetAttribute(int* value, int which, int device) {
  (void)device;
  int capability = number("FAKE_CAPABILITY", 87);
  *value = which == 75 ? capability / 10 : which == 76 ? capability % 10 : which == 18;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int device) { *context = (void*)(intptr_t)(1 + device); return 0; }
int cuCtxSetCurrent(void* context) { return context ? 0 : 201; }
int cuStreamCreate(void** stream, unsigned flags) { *stream = (void*)(intptr_t)(16 + flags); return 0; }
int cuStreamSynchronize(void* stream) { return stream ? 0 : 400; }
int cuMemAlloc_v2(uint64_t* address, size_t size) {
  if (size > (size_t)number("FAKE_LARGEST", 1 << 30)) return 2;
  *address = (uint64_t)(uintptr_t)malloc(size);
  return 0;
}
int cuMemFree_v2(uint64_t address) { free((void*)(uintptr_t)address); return 0; }
int cuMemcpyHtoDAsync_v2(uint64_t target, const void* source, size_t size, void* stream) {
  (void)stream;
  memcpy((void*)(uintptr_t)target, source, size);
  return number("FAKE_COPY", 0);
}
int cuMemcpyDtoHAsync_v2(void* target, uint64_t source, size_t size, void* stream) {
  (void)stream;
  memcpy(target, (const void*)(uintptr_t)source, size);
  return 0;
}
int cuGetErrorString(int code, const char** text) { (void)code; *text = "the fake driver was told to fail"; return 0; }
