// Runs a kernel's blocks one after another, the threads of a block as fibers that switch at barriers and warp operations.
#pragma once
#include <cstdint>
#include <string>

// Ends the operation that runs on this thread: the device then reports this code and text to every call.
[[noreturn]] void break_device(int code, const std::string& text);

// Runs `work` so that break_device, or an access to memory of which the stand-in says nothing, returns here. `name` is the
// operation in the text. Returns the code, or 0.
int guarded(const std::string& name, void (*work)(void*), void* argument, std::string& text);

// Calls the kernel with up to 12 words of arguments, for every thread. Call it within `guarded`.
void run_kernel(void* kernel, const uint64_t* arguments, unsigned blocks, unsigned threads, unsigned sharedBytes,
                uint64_t seed);
