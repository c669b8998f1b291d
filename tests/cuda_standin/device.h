// Devices, streams (a thread each, with random delays), events, captures, and what every call begins with.
#pragma once
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "declarations.h"  // written from the tables in ffi/
#include "memory.h"

enum {
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  OLD_DRIVER = 35,
  INVALID_DEVICE = 101,
  INVALID_CONTEXT = 201,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  ALREADY_REGISTERED = 712,
  CAPTURE_UNSUPPORTED = 900,
  NOT_READY = 600,
  CAPTURE_INVALIDATED = 901,
};

// What a call throws to return a status; the text says more than the status.
struct Refusal {
  int code;
  std::string text;
};

using Work = std::function<void()>;
struct Operation {
  const char* name;
  Work work;
  bool isKernel;  // kernels run one at a time: what they share is static
};
using Sequence = std::shared_ptr<std::vector<Operation>>;

struct Device {
  int ordinal;
  // Set by an operation that fails: from then on every call of the device returns it.
  int fault = 0;
  std::string text;
  std::vector<struct Stream*> streams;
};

struct Stream {
  Device* device;
  std::deque<Operation> queue;
  uint64_t queued = 0, completed = 0;
  bool isClosed = false;
  // What is captured, if anything, and whether a call has broken it.
  Sequence captured;
  bool isBroken = false;
};

struct Event {
  uint64_t recorded = 0, reached = 0;
};

// One lock for all state; `changed` is signalled whenever an operation ends.
extern std::mutex world;
extern std::condition_variable& changed;

// A number that a test has set for its process.
long from_environment(const char* variable, long otherwise);
// True if devices take no time: operations on streams are not done, and events are reached at once.
bool is_idle();
Device& device_at(int ordinal);
int device_count();
// The device that this thread has set, and whether it has a context here.
extern thread_local int current_device;
extern thread_local bool has_context;
// The stream that this thread captures.
extern thread_local Stream* capturing;

// Runs a call: fails it where the test wants it to fail, or because the device is broken, and turns refusals into statuses.
int called(const char* name, const std::function<void()>& body);
// The text of a status of the last refusal on this thread, or of the device's fault.
const char* text_of(int code);

// A handle of a live object, or a refusal.
Stream& stream_of(void* handle);
Stream* make_stream();
void close_stream(Stream& stream);
// Adds an operation, or captures it.
void enqueue(Stream& stream, const char* name, Work work, bool isKernel = false);
// Waits for all operations so far; refuses with the device's fault.
void drain(std::unique_lock<std::mutex>& held, Stream& stream);
void drain_device(std::unique_lock<std::mutex>& held, int ordinal);
// Refuses what a thread that captures may not call; the capture is then broken.
void not_while_capturing(const char* name);

// Writes an output argument.
template <typename T>
void put(void* slot, T value) {
  memcpy(slot, &value, sizeof value);
}
// Removes a handle from those that exist.
inline void forget(std::set<void*>& objects, void* handle) {
  std::lock_guard held(world);
  if (!objects.erase(handle)) throw Refusal{INVALID_HANDLE, "an object that does not exist"};
}
