#include "device.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "threads.h"

std::mutex world;
// Never destroyed: streams outlive main.
std::condition_variable& changed = *new std::condition_variable;
thread_local int current_device = 0;
thread_local bool has_context = false;
thread_local Stream* capturing = nullptr;

static thread_local Refusal last_refusal;
static std::set<void*>& streams = *new std::set<void*>;

long from_environment(const char* variable, long otherwise) {
  const char* text = getenv(variable);
  return text == nullptr ? otherwise : atol(text);
}

int device_count() {
  static const int count = from_environment("HOTSET_STANDIN_DEVICES", 1);
  return count;
}

bool is_idle() {
  static const bool idle = from_environment("HOTSET_STANDIN_IDLE", 0) != 0;
  return idle;
}

Device& device_at(int ordinal) {
  static std::vector<Device>& devices = *new std::vector<Device>(16);
  devices[ordinal].ordinal = ordinal;
  return devices[ordinal];
}

// Failures that a test asks for --------------------------------------------------------------------------------------

static std::mutex plan_lock;
static std::map<std::string, int>& calls = *new std::map<std::string, int>;
static std::string planned_call;
static int planned_number = 0, planned_code = 0, planned_device = -1;

// From now on, the `number`-th call of a function on a device (-1: any) returns `code`. Operations on streams are calls with
// names such as "copy" and break the device. Counts start anew.
extern "C" void standin_fail(const char* name, int number, int code, int device) {
  std::lock_guard held(plan_lock);
  calls.clear();
  planned_call = name;
  planned_number = number;
  planned_code = code;
  planned_device = device;
}

// Calls of a function since the last standin_fail.
extern "C" int standin_calls(const char* name) {
  std::lock_guard held(plan_lock);
  return calls[name];
}

extern "C" int standin_allocations() { return allocations(); }

// Makes broken devices work again, as a new process would find them.
extern "C" void standin_repair() {
  std::lock_guard held(world);
  for (int ordinal = 0; ordinal < device_count(); ordinal++) device_at(ordinal).fault = 0;
}

static int planned(const char* name, int device) {
  static const bool fromEnvironment = [] {
    const char* plan = getenv("HOTSET_STANDIN_FAIL");  // NAME:NUMBER:CODE:DEVICE
    char call[100];
    int number, code, device;
    if (plan != nullptr && sscanf(plan, "%99[^:]:%d:%d:%d", call, &number, &code, &device) == 4) {
      standin_fail(call, number, code, device);
    }
    return true;
  }();
  (void)fromEnvironment;
  std::lock_guard held(plan_lock);
  if (planned_device != -1 && planned_device != device) return 0;
  int count = ++calls[name];
  return planned_call == name && count == planned_number ? planned_code : 0;
}

// Calls --------------------------------------------------------------------------------------------------------------

int called(const char* name, const std::function<void()>& body) {
  try {
    if (int code = planned(name, current_device)) throw Refusal{code, "the test wants it"};
    {
      std::lock_guard held(world);
      Device& device = device_at(current_device);
      if (device.fault != 0) throw Refusal{device.fault, device.text};
    }
    body();
    return 0;
  } catch (const Refusal& refusal) {
    last_refusal = refusal;
    return refusal.code;
  }
}

const char* text_of(int code) { return code == last_refusal.code ? last_refusal.text.c_str() : "unknown"; }

void not_while_capturing(const char* name) {
  if (capturing == nullptr) return;
  std::lock_guard held(world);
  capturing->isBroken = true;
  throw Refusal{CAPTURE_UNSUPPORTED, std::string(name) + " during a capture"};
}

// Streams ------------------------------------------------------------------------------------------------------------

static void run(Stream& stream, const Operation& operation) {
  static std::mutex kernels;
  std::unique_lock running(kernels, std::defer_lock);
  if (operation.isKernel) running.lock();
  std::string text;
  int code = planned(operation.name, stream.device->ordinal);
  if (code != 0) text = std::string(operation.name) + ": the test wants it";
  else code = guarded(operation.name, [](void* work) { (*(const Work*)work)(); }, (void*)&operation.work, text);
  if (code == 0) return;
  std::lock_guard held(world);
  stream.device->fault = code;
  stream.device->text = text;
  changed.notify_all();
}

static void serve(Stream* stream) {
  static const long seed = from_environment("HOTSET_STANDIN_SEED", 1), longest = from_environment("HOTSET_STANDIN_DELAY_US", 0);
  static std::atomic<long> next{0};
  std::minstd_rand random(seed * 1000 + next++);
  for (;;) {
    Operation operation;
    bool runs;
    {
      std::unique_lock held(world);
      changed.wait(held, [&] { return !stream->queue.empty() || stream->isClosed; });
      if (stream->queue.empty()) return;
      operation = std::move(stream->queue.front());
      stream->queue.pop_front();
      runs = stream->device->fault == 0;
    }
    if (longest > 0 && random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % longest));
    if (runs) run(*stream, operation);
    std::lock_guard held(world);
    stream->completed++;
    changed.notify_all();
  }
}

Stream* make_stream() {
  Stream* stream = new Stream;  // not deleted: its thread may still look at it
  stream->device = &device_at(current_device);
  std::lock_guard held(world);
  streams.insert(stream);
  stream->device->streams.push_back(stream);
  if (!is_idle()) std::thread(serve, stream).detach();
  return stream;
}

void close_stream(Stream& stream) {
  std::lock_guard held(world);
  streams.erase(&stream);
  auto& of = stream.device->streams;
  of.erase(std::find(of.begin(), of.end(), &stream));
  stream.isClosed = true;
  changed.notify_all();
}

Stream& stream_of(void* handle) {
  std::lock_guard held(world);
  if (!streams.count(handle)) throw Refusal{INVALID_HANDLE, "a stream that does not exist"};
  Stream& stream = *(Stream*)handle;
  if (stream.device->ordinal != current_device) throw Refusal{INVALID_HANDLE, "a stream of another device"};
  return stream;
}

void enqueue(Stream& stream, const char* name, Work work, bool isKernel) {
  std::unique_lock held(world);
  if (stream.captured != nullptr) {
    if (capturing != &stream) throw Refusal{CAPTURE_UNSUPPORTED, "a stream that another thread captures"};
    stream.captured->push_back({name, std::move(work), isKernel});
    return;
  }
  if (is_idle()) {
    held.unlock();
    if (strcmp(name, "record") == 0) work();
    return;
  }
  stream.queue.push_back({name, std::move(work), isKernel});
  stream.queued++;
  changed.notify_all();
}

void drain(std::unique_lock<std::mutex>& held, Stream& stream) {
  uint64_t last = stream.queued;
  changed.wait(held, [&] { return stream.completed >= last; });
  if (stream.device->fault != 0) throw Refusal{stream.device->fault, stream.device->text};
}

void drain_device(std::unique_lock<std::mutex>& held, int ordinal) {
  for (Stream* stream : std::vector<Stream*>(device_at(ordinal).streams)) drain(held, *stream);
}
