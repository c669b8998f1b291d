#include "threads.h"

#include <csetjmp>
#include <csignal>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

#include "memory.h"

static const int ILLEGAL_ADDRESS = 700, LAUNCH_FAILURE = 719;
static const unsigned MOST_THREADS = 1024, STACK_BYTES = 64 << 10;

unsigned standin_thread, standin_block, standin_threads, standin_blocks;
char* standin_dynamic_shared();
extern "C" char __start_kernel_shared[], __stop_kernel_shared[];

// Escapes --------------------------------------------------------------------------------------------------------------

struct Escape {
  sigjmp_buf place;
  const char* name;
  int code;
  char text[400];
};
static thread_local Escape* escape;
static struct sigaction previous;

void break_device(int code, const std::string& text) {
  escape->code = code;
  snprintf(escape->text, sizeof escape->text, "%s: %s", escape->name, text.c_str());
  siglongjmp(escape->place, 1);
}

static void on_fault(int signal, siginfo_t* info, void* context) {
  if (escape != nullptr) {
    escape->code = ILLEGAL_ADDRESS;
    describe_address(escape->text, sizeof escape->text, escape->name, (uintptr_t)info->si_addr);
    siglongjmp(escape->place, 1);
  }
  // Not the stand-in's: whoever had the signal before.
  if (previous.sa_flags & SA_SIGINFO && previous.sa_sigaction) return previous.sa_sigaction(signal, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  ::signal(signal, SIG_DFL);
  raise(signal);
}

int guarded(const std::string& name, void (*work)(void*), void* argument, std::string& text) {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &previous);
  });
  Escape here;
  here.name = name.c_str();
  here.code = 0;
  if (sigsetjmp(here.place, 1) == 0) {
    escape = &here;
    work(argument);
  }
  escape = nullptr;
  if (here.code != 0) text = here.text;
  return here.code;
}

// Fibers ---------------------------------------------------------------------------------------------------------------

struct Fiber {
  jmp_buf place;
  ucontext_t first;
  char* stack = nullptr;
  bool isMade = false, isDone = false;
  const unsigned* waits = nullptr;  // waits until this generation is no longer `seen`
  unsigned seen = 0;
};

static Fiber fibers[MOST_THREADS];
static jmp_buf scheduler;
static ucontext_t returns;
static void (*kernel_of_launch)(...);
static const uint64_t* arguments_of_launch;
static unsigned slots[MOST_THREADS];

// What a group of threads waits for: the block (index 32) or a warp.
static struct Meeting {
  unsigned arrived = 0, generation = 0;
  const char* operation = nullptr;
} meetings[MOST_THREADS / 32 + 1];

static void leave() {
  if (_setjmp(fibers[standin_thread].place) == 0) _longjmp(scheduler, 1);
}

static void fiber_main() {
  for (;;) {
    const uint64_t* a = arguments_of_launch;
    // All parameters are addresses and 32-bit numbers: each is a register or 8 bytes of the stack, and more than the kernel
    // has do no harm.
    ((void (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
               uint64_t))kernel_of_launch)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]);
    fibers[standin_thread].isDone = true;
    leave();
  }
}

static void enter(unsigned thread) {
  Fiber& fiber = fibers[thread];
  standin_thread = thread;
  if (_setjmp(scheduler) != 0) return;
  if (fiber.isMade) _longjmp(fiber.place, 1);
  if (fiber.stack == nullptr) {
    fiber.stack = (char*)mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  fiber.isMade = true;
  getcontext(&fiber.first);
  fiber.first.uc_stack = {fiber.stack, 0, STACK_BYTES};
  fiber.first.uc_link = nullptr;
  makecontext(&fiber.first, fiber_main, 0);
  setcontext(&fiber.first);
}

static void meet(Meeting& meeting, unsigned size, const char* operation) {
  if (meeting.arrived == 0) meeting.operation = operation;
  else if (strcmp(meeting.operation, operation) != 0) {
    break_device(LAUNCH_FAILURE, std::string("lanes of a warp in ") + operation + " and in " + meeting.operation);
  }
  if (++meeting.arrived == size) {
    meeting.arrived = 0;
    meeting.generation++;
    return;
  }
  Fiber& fiber = fibers[standin_thread];
  fiber.waits = &meeting.generation;
  fiber.seen = meeting.generation;
  leave();
}

static Meeting& warp() { return meetings[standin_thread / 32]; }

extern "C" void standin_barrier() { meet(meetings[MOST_THREADS / 32], standin_threads, "a barrier"); }

extern "C" unsigned standin_shuffle(unsigned value, unsigned lane) {
  slots[standin_thread] = value;
  meet(warp(), 32, "a shuffle");
  unsigned result = slots[standin_thread / 32 * 32 + lane % 32];
  meet(warp(), 32, "the end of a shuffle");
  return result;
}

extern "C" unsigned standin_ballot(bool vote) {
  slots[standin_thread] = vote;
  meet(warp(), 32, "a vote");
  unsigned result = 0;
  for (unsigned lane = 0; lane < 32; lane++) result |= slots[standin_thread / 32 * 32 + lane] << lane;
  meet(warp(), 32, "the end of a vote");
  return result;
}

// Launches -------------------------------------------------------------------------------------------------------------

// Forwards, backwards or at random.
static void shuffle_order(std::vector<unsigned>& order, unsigned count, uint64_t& seed) {
  order.resize(count);
  unsigned kind = seed % 3;
  for (unsigned i = 0; i < count; i++) order[i] = kind == 1 ? count - 1 - i : i;
  for (unsigned i = count; kind == 2 && i > 1; i--) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    std::swap(order[i - 1], order[(seed >> 33) % i]);
  }
}

static void run_block(const std::vector<unsigned>& order) {
  memset(__start_kernel_shared, 0xff, __stop_kernel_shared - __start_kernel_shared);
  for (Meeting& meeting : meetings) meeting.arrived = 0;
  for (unsigned thread : order) {
    fibers[thread].isDone = false;
    fibers[thread].waits = nullptr;
  }
  for (size_t left = order.size(); left > 0;) {
    bool progress = false;
    for (unsigned thread : order) {
      Fiber& fiber = fibers[thread];
      if (fiber.isDone || (fiber.waits != nullptr && *fiber.waits == fiber.seen)) continue;
      progress = true;
      fiber.waits = nullptr;
      enter(thread);
      if (fiber.isDone) left--;
    }
    if (!progress) break_device(LAUNCH_FAILURE, "not all threads reach a barrier or a warp operation");
  }
}

void run_kernel(void* kernel, const uint64_t* arguments, unsigned blocks, unsigned threads, unsigned sharedBytes,
                uint64_t seed) {
  kernel_of_launch = (void (*)(...))kernel;
  arguments_of_launch = arguments;
  standin_threads = threads;
  standin_blocks = blocks;
  // A launch that was broken off has left its fibers in the middle of a kernel.
  static bool isClean = false;
  if (!isClean) {
    for (Fiber& fiber : fibers) fiber.isMade = false;
  }
  isClean = false;
  static std::vector<unsigned> order, blockOrder;
  shuffle_order(order, threads, seed);
  shuffle_order(blockOrder, blocks, seed);
  const char* behind = standin_dynamic_shared() + sharedBytes;
  for (unsigned block : blockOrder) {
    standin_block = block;
    run_block(order);
    for (unsigned i = 0; i < 16; i++) {
      if (behind[i] != (char)0xff) break_device(LAUNCH_FAILURE, "it writes behind its dynamic shared memory");
    }
  }
  isClean = true;
}
