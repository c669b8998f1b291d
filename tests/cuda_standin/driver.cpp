// libcuda: kernels, which the host's compiler has built into this library.
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <regex>
#include <set>

#include "device.h"
#include "threads.h"

extern "C" {
int cuGetErrorName(int code, void* slot) { return put(slot, cudaGetErrorName(code)), 0; }
int cuGetErrorString(int code, void* slot) { return put(slot, cudaGetErrorString(code)), 0; }
int cuInit(unsigned) { return 0; }
int cuDeviceGet(void* device, int ordinal) { return put(device, ordinal), 0; }
int cuDeviceGetName(void* name, int length, int) {
  strncpy((char*)name, "stand-in", length);
  return 0;
}

struct Entry {
  void* code;
  std::string name;
  std::string types;  // of parameters: one letter each, 8 or 4 bytes
  size_t bytes;
};
using Module = std::map<std::string, Entry>;
static std::set<void*>& modules = *new std::set<void*>;
static std::set<void*>& entries = *new std::set<void*>;

static void* library() {
  static void* handle = [] {
    Dl_info info;
    dladdr((void*)cuInit, &info);
    return dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  }();
  return handle;
}

int cuModuleLoadData(void* slot, void* image) {
  return called(__func__, [&] {
    if (!has_context) throw Refusal{INVALID_CONTEXT, "a module without a context on the thread"};
    auto* module = new Module;
    const std::string text = (const char*)image;
    static const std::regex entry("\\.entry (\\w+)\\(([^)]*)\\)"), parameter("\\.param \\.(u64|u32)");
    for (std::sregex_iterator at(text.begin(), text.end(), entry), end; at != end; ++at) {
      Entry found{dlsym(library(), (*at)[1].str().c_str()), (*at)[1], "", 0};
      const std::string parameters = (*at)[2];
      for (std::sregex_iterator p(parameters.begin(), parameters.end(), parameter); p != end; ++p) {
        size_t width = (*p)[1] == "u64" ? 8 : 4;
        found.bytes = (found.bytes + width - 1) / width * width + width;
        found.types += char('0' + width);
      }
      (*module)[found.name] = found;
    }
    std::lock_guard held(world);
    modules.insert(module);
    put(slot, module);
  });
}

int cuModuleUnload(void* module) {
  return called(__func__, [&] { forget(modules, module); });
}

int cuModuleGetFunction(void* slot, void* module, void* name) {
  return called(__func__, [&] {
    std::lock_guard held(world);
    if (!modules.count(module)) throw Refusal{INVALID_HANDLE, "a module that does not exist"};
    auto found = ((Module*)module)->find((const char*)name);
    if (found == ((Module*)module)->end()) throw Refusal{NOT_FOUND, "no such kernel"};
    if (found->second.code == nullptr) throw Refusal{NOT_FOUND, "a kernel that is not in the sources"};
    put(slot, &found->second);
    entries.insert(&found->second);
  });
}

int cuLaunchKernel(void* function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,
                   unsigned blockZ, unsigned sharedBytes, void* stream, void* parameters, void* extra) {
  return called(__func__, [&] {
    if (!entries.count(function)) throw Refusal{INVALID_HANDLE, "a kernel that does not exist"};
    const Entry& entry = *(Entry*)function;
    if (gridX == 0 || gridY * gridZ != 1 || blockX == 0 || blockX > 1024 || blockY * blockZ != 1 || sharedBytes > 48 << 10) {
      throw Refusal{INVALID_VALUE, "a launch of " + entry.name + " with an invalid shape"};
    }
    void** list = (void**)extra;  // 1 buffer, 2 size, 0
    if (parameters != nullptr || list == nullptr || list[0] != (void*)1 || list[2] != (void*)2 || list[4] != nullptr) {
      throw Refusal{INVALID_VALUE, "a launch without a block of arguments"};
    }
    if (*(size_t*)list[3] != entry.bytes) throw Refusal{INVALID_VALUE, "a launch of " + entry.name + " with wrong arguments"};
    std::vector<uint64_t> arguments(12);
    size_t offset = 0, index = 0;
    for (char type : entry.types) {
      size_t width = type - '0';
      offset = (offset + width - 1) / width * width;
      memcpy(&arguments[index++], (const char*)list[1] + offset, width);
      offset += width;
    }
    enqueue(stream_of(stream), entry.name.c_str(), [=, code = entry.code] {
      static uint64_t launches = 0;
      run_kernel(code, arguments.data(), gridX, blockX, sharedBytes, launches++);
    }, true);
  });
}
}
