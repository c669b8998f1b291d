// libcudart.
#include <cstring>
#include <map>
#include <set>

#include "device.h"
#include "threads.h"

// What a test wants the machine to have: versions such as 13000, and a compute capability such as 90.
static int runtime_version() { return from_environment("HOTSET_STANDIN_RUNTIME", 12000); }
static int driver_version() { return from_environment("HOTSET_STANDIN_DRIVER", 12000); }
static int capability() { return from_environment("HOTSET_STANDIN_CAPABILITY", 80); }
static std::set<void*>& events = *new std::set<void*>;
static std::map<void*, Sequence>& graphs = *new std::map<void*, Sequence>;

static const std::map<int, const char*>& names() {
  static const std::map<int, const char*> names = {
      {INVALID_VALUE, "cudaErrorInvalidValue"},
      {OUT_OF_MEMORY, "cudaErrorMemoryAllocation"},
      {INVALID_DEVICE, "cudaErrorInvalidDevice"},
      {OLD_DRIVER, "cudaErrorInsufficientDriver"},
      {INVALID_CONTEXT, "cudaErrorDeviceUninitialized"},
      {INVALID_HANDLE, "cudaErrorInvalidResourceHandle"},
      {NOT_FOUND, "cudaErrorSymbolNotFound"},
      {NOT_READY, "cudaErrorNotReady"},
      {700, "cudaErrorIllegalAddress"},
      {ALREADY_REGISTERED, "cudaErrorHostMemoryAlreadyRegistered"},
      {719, "cudaErrorLaunchFailure"},
      {CAPTURE_UNSUPPORTED, "cudaErrorStreamCaptureUnsupported"},
      {CAPTURE_INVALIDATED, "cudaErrorStreamCaptureInvalidated"},
  };
  return names;
}

static Event& event_of(void* handle) {
  std::lock_guard held(world);
  if (!events.count(handle)) throw Refusal{INVALID_HANDLE, "an event that does not exist"};
  return *(Event*)handle;
}

static Sequence& graph_of(void* handle) {
  auto found = graphs.find(handle);
  if (found == graphs.end()) throw Refusal{INVALID_HANDLE, "a graph that does not exist"};
  return found->second;
}

static void expect_memory(int device, uint64_t address, size_t bytes, const char* what) {
  if (bytes > 0 && !is_memory(device, address, bytes)) throw Refusal{INVALID_VALUE, what};
}

// Checks both ends of a copy: kind 1 is host to device, 2 the other way, 3 within the device.
static void expect_copy(uint64_t to, uint64_t from, size_t toBytes, size_t fromBytes, int kind) {
  if (kind < 1 || kind > 3) throw Refusal{INVALID_VALUE, "a kind of copy that is not used"};
  expect_memory(kind == 2 ? PINNED : current_device, to, toBytes, "a copy to memory of the wrong kind or size");
  expect_memory(kind == 1 ? PINNED : current_device, from, fromBytes, "a copy from memory of the wrong kind or size");
}

// The same of the host's end, when the copy is done.
static void expect_pinned(uint64_t to, uint64_t from, size_t bytes, int kind) {
  if (kind == 3 || bytes == 0 || is_memory(PINNED, kind == 1 ? from : to, bytes)) return;
  break_device(700, "it uses memory of the host that is no longer pinned");
}

extern "C" {

void* cudaGetErrorName(int code) {
  auto found = names().find(code);
  return (void*)(found == names().end() ? "cudaErrorUnknown" : found->second);
}
void* cudaGetErrorString(int code) { return (void*)text_of(code); }
int cudaRuntimeGetVersion(void* version) { return put(version, runtime_version()), 0; }
int cudaDriverGetVersion(void* version) { return put(version, driver_version()), 0; }
int cudaGetDeviceCount(void* count) {
  return called(__func__, [&] {
    if (driver_version() / 1000 < runtime_version() / 1000) throw Refusal{OLD_DRIVER, "the driver is too old"};
    put(count, device_count());
  });
}

int cudaSetDevice(int ordinal) {
  if (ordinal < 0 || ordinal >= device_count()) return INVALID_DEVICE;
  has_context = has_context && current_device == ordinal;
  current_device = ordinal;
  return 0;
}

int cudaDeviceGetAttribute(void* value, int attribute, int) {
  return called(__func__, [&] { put(value, attribute == 16 ? 2 : attribute == 75 ? capability() / 10 : attribute == 76 ? capability() % 10 : 0); });
}

int cudaMemGetInfo(void* free, void* total) {
  return called(__func__, [&] {
    put(free, memory_of_device() - memory_in_use(current_device));
    put(total, memory_of_device());
  });
}

int cudaMalloc(void* slot, size_t bytes) {
  return called(__func__, [&] {
    not_while_capturing("cudaMalloc");
    has_context = true;
    uint64_t address = allocate_memory(current_device, bytes);
    if (address == 0) throw Refusal{OUT_OF_MEMORY, "out of memory"};
    put(slot, address);
  });
}

static void release(const char* name, int owner, uint64_t address) {
  not_while_capturing(name);
  std::string fault;
  int code = 0;
  try {  // as CUDA does: waits for the device, frees, then reports a fault of the device
    std::unique_lock held(world);
    drain_device(held, current_device);
  } catch (const Refusal& refusal) {
    code = refusal.code;
    fault = refusal.text;
  }
  if (!free_memory(owner, address)) throw Refusal{INVALID_VALUE, "memory that is not allocated"};
  if (code != 0) throw Refusal{code, fault};
}

int cudaFree(uint64_t address) { return called(__func__, [&] { release("cudaFree", current_device, address); }); }

int cudaHostAlloc(void* slot, size_t bytes, unsigned) {
  return called(__func__, [&] {
    not_while_capturing("cudaHostAlloc");
    uint64_t address = allocate_memory(PINNED, bytes);
    if (address == 0) throw Refusal{OUT_OF_MEMORY, "out of memory"};
    put(slot, address);
  });
}

int cudaFreeHost(uint64_t address) { return called(__func__, [&] { release("cudaFreeHost", PINNED, address); }); }

int cudaHostRegister(uint64_t address, size_t bytes, unsigned) {
  return called(__func__, [&] {
    not_while_capturing("cudaHostRegister");
    if (!pin_memory(address, bytes)) throw Refusal{ALREADY_REGISTERED, "memory that is pinned already"};
  });
}

int cudaHostUnregister(uint64_t address) {  // does not wait: CUDA does not promise it
  return called(__func__, [&] {
    not_while_capturing("cudaHostUnregister");
    if (!free_memory(PINNED, address)) throw Refusal{INVALID_VALUE, "memory that is not pinned"};
  });
}

int cudaMemcpyAsync(uint64_t to, uint64_t from, size_t bytes, int kind, void* stream) {
  return called(__func__, [&] {
    expect_copy(to, from, bytes, bytes, kind);
    enqueue(stream_of(stream), "copy", [=] {
      expect_pinned(to, from, bytes, kind);
      memmove((void*)to, (const void*)from, bytes);
    });
  });
}

int cudaMemcpy2DAsync(uint64_t to, size_t toPitch, uint64_t from, size_t fromPitch, size_t width, size_t height, int kind,
                      void* stream) {
  return called(__func__, [&] {
    if (width > toPitch || width > fromPitch) throw Refusal{INVALID_VALUE, "rows that are wider than their pitch"};
    if (height == 0) return;
    expect_copy(to, from, toPitch * (height - 1) + width, fromPitch * (height - 1) + width, kind);
    enqueue(stream_of(stream), "copy", [=] {
      for (size_t row = 0; row < height; row++) {
        memmove((void*)(to + row * toPitch), (const void*)(from + row * fromPitch), width);
      }
    });
  });
}

int cudaMemsetAsync(uint64_t address, int value, size_t bytes, void* stream) {
  return called(__func__, [&] {
    expect_memory(current_device, address, bytes, "a fill of memory that is not the device's");
    enqueue(stream_of(stream), "fill", [=] { memset((void*)address, value, bytes); });
  });
}

int cudaStreamCreateWithFlags(void* slot, unsigned) {
  return called(__func__, [&] {
    has_context = true;
    put(slot, make_stream());
  });
}

int cudaStreamDestroy(void* handle) {
  return called(__func__, [&] { close_stream(stream_of(handle)); });
}

int cudaStreamSynchronize(void* handle) {
  return called(__func__, [&] {
    Stream& stream = stream_of(handle);
    not_while_capturing("cudaStreamSynchronize");
    std::unique_lock held(world);
    drain(held, stream);
  });
}

int cudaStreamQuery(void* handle) {
  return called(__func__, [&] {
    Stream& stream = stream_of(handle);
    not_while_capturing("cudaStreamQuery");
    std::unique_lock held(world);
    if (stream.completed < stream.queued && stream.device->fault == 0) throw Refusal{NOT_READY, "device not ready"};
    drain(held, stream);
  });
}

int cudaStreamWaitEvent(void* handle, void* waited, unsigned) {
  return called(__func__, [&] {
    Stream& stream = stream_of(handle);
    Event& event = event_of(waited);
    if (capturing == &stream) throw Refusal{CAPTURE_UNSUPPORTED, "a capture that waits for an event outside"};
    uint64_t target = event.recorded;
    enqueue(stream, "wait", [&event, target, device = stream.device] {
      std::unique_lock held(world);
      changed.wait(held, [&] { return event.reached >= target || device->fault != 0; });
    });
  });
}

int cudaEventCreateWithFlags(void* slot, unsigned) {
  return called(__func__, [&] {
    Event* event = new Event;  // not deleted: operations in queues point to it
    std::lock_guard held(world);
    events.insert(event);
    put(slot, event);
  });
}

int cudaEventDestroy(void* handle) {
  return called(__func__, [&] { forget(events, handle); });
}

int cudaEventRecord(void* handle, void* on) {
  return called(__func__, [&] {
    Event& event = event_of(handle);
    Stream& stream = stream_of(on);
    if (capturing == &stream) throw Refusal{CAPTURE_UNSUPPORTED, "a capture that records an event of outside"};
    uint64_t target = ++event.recorded;
    enqueue(stream, "record", [&event, target] {
      std::lock_guard held(world);
      event.reached = target;
      changed.notify_all();
    });
  });
}

int cudaEventSynchronize(void* handle) {
  return called(__func__, [&] {
    Event& event = event_of(handle);
    not_while_capturing("cudaEventSynchronize");
    std::unique_lock held(world);
    Device& device = device_at(current_device);
    changed.wait(held, [&] { return event.reached >= event.recorded || device.fault != 0; });
    if (device.fault != 0) throw Refusal{device.fault, device.text};
  });
}

int cudaEventElapsedTime(void* milliseconds, void* start, void* end) {
  return called(__func__, [&] {
    event_of(start);
    event_of(end);
    put(milliseconds, 0.001f);
  });
}

int cudaStreamBeginCapture(void* handle, int) {
  return called(__func__, [&] {
    Stream& stream = stream_of(handle);
    if (capturing != nullptr) throw Refusal{INVALID_VALUE, "a capture within a capture"};
    stream.captured = std::make_shared<std::vector<Operation>>();
    stream.isBroken = false;
    capturing = &stream;
  });
}

int cudaStreamEndCapture(void* handle, void* slot) {
  // Ends the capture also if this call is to fail.
  Sequence captured;
  bool isBroken = false;
  if (capturing == handle && capturing != nullptr) {
    std::lock_guard held(world);
    std::swap(captured, capturing->captured);
    isBroken = capturing->isBroken;
    capturing = nullptr;
  }
  return called(__func__, [&] {
    if (captured == nullptr) throw Refusal{INVALID_VALUE, "no capture of this stream by this thread"};
    if (isBroken) throw Refusal{CAPTURE_INVALIDATED, "a call has broken the capture"};
    std::lock_guard held(world);
    put(slot, captured.get());
    graphs[captured.get()] = captured;
  });
}

int cudaGraphInstantiateWithFlags(void* slot, void* graph, uint64_t) {
  return called(__func__, [&] {
    std::lock_guard held(world);
    auto executable = std::make_shared<std::vector<Operation>>(*graph_of(graph));
    put(slot, executable.get());
    graphs[executable.get()] = executable;
  });
}

int cudaGraphLaunch(void* graph, void* on) {
  return called(__func__, [&] {
    Stream& stream = stream_of(on);
    if (capturing == &stream) throw Refusal{CAPTURE_UNSUPPORTED, "a graph within a capture"};
    Sequence operations;
    {
      std::lock_guard held(world);
      operations = graph_of(graph);
    }
    for (const Operation& operation : *operations) enqueue(stream, operation.name, operation.work, operation.isKernel);
  });
}

static void forget_graph(void* graph) {
  std::lock_guard held(world);
  graph_of(graph);
  graphs.erase(graph);
}
int cudaGraphExecDestroy(void* graph) {
  return called(__func__, [&] { forget_graph(graph); });
}
int cudaGraphDestroy(void* graph) {
  return called(__func__, [&] { forget_graph(graph); });
}
}
