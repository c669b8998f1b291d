#include "memory.h"

#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <sys/mman.h>

#include "device.h"

namespace {
struct Allocation {
  uint64_t address;
  size_t bytes;
  int device;
  char* pages;
  size_t pageBytes;
};
const size_t PAGE = 4096, GUARD = 1 << 20;
std::mutex lock;
std::map<uint64_t, Allocation>& live = *new std::map<uint64_t, Allocation>;  // never destroyed: threads outlive main
std::map<uint64_t, Allocation>& dead = *new std::map<uint64_t, Allocation>;

const Allocation* find(const std::map<uint64_t, Allocation>& allocations, uint64_t address) {
  auto after = allocations.upper_bound(address);
  return after == allocations.begin() ? nullptr : &std::prev(after)->second;
}

size_t in_use(int device) {
  size_t bytes = 0;
  for (auto& [_, allocation] : live) bytes += allocation.device == device ? allocation.bytes : 0;
  return bytes;
}
}  // namespace

uint64_t allocate_memory(int device, size_t bytes) {
  std::lock_guard held(lock);
  if (device != PINNED && in_use(device) + bytes > memory_of_device()) return 0;
  // Multiples of 256 bytes are aligned to 256 as CUDA's are; others end at most 15 bytes before the guard.
  size_t used = (bytes + 15) / 16 * 16, pageBytes = (used + PAGE - 1) / PAGE * PAGE;
  char* pages = (char*)mmap(nullptr, pageBytes + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED || mprotect(pages, pageBytes, PROT_READ | PROT_WRITE) != 0) return 0;
  if (!is_idle()) memset(pages, 0xff, pageBytes);
  uint64_t address = (uint64_t)pages + pageBytes - used;
  live[address] = {address, bytes, device, pages, pageBytes};
  return address;
}

bool pin_memory(uint64_t address, size_t bytes) {
  std::lock_guard held(lock);
  const Allocation* before = find(live, address + bytes - 1);
  if (bytes == 0 || (before != nullptr && before->address + before->bytes > address)) return false;
  live[address] = {address, bytes, PINNED, nullptr, 0};
  return true;
}

bool free_memory(int device, uint64_t address) {
  std::lock_guard held(lock);
  auto found = live.find(address);
  if (found == live.end() || found->second.device != device) return false;
  const Allocation& freed = found->second;
  if (freed.pages == nullptr) return live.erase(found), true;  // the process's own
  // Mapped anew without access: the memory goes back, the addresses stay taken.
  mmap(freed.pages, freed.pageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  dead.insert(*found);
  live.erase(found);
  return true;
}

bool is_memory(int device, uint64_t address, size_t bytes) {
  std::lock_guard held(lock);
  const Allocation* found = find(live, address);
  return found != nullptr && found->device == device && address + bytes <= found->address + found->bytes;
}

size_t memory_in_use(int device) {
  std::lock_guard held(lock);
  return in_use(device);
}

// Memory of a device that does nothing is never touched.
size_t memory_of_device() { return size_t(is_idle() ? 64 : 1) << 30; }

int allocations() {
  std::lock_guard held(lock);
  return live.size();
}

void describe_address(char* text, size_t bytes, const char* name, uint64_t address) {
  const Allocation* owner = find(live, address);
  const Allocation* freed = find(dead, address);
  if (freed != nullptr && address < freed->address + freed->bytes) {
    snprintf(text, bytes, "%s accesses byte %llu of %zu that are freed", name,
             (unsigned long long)(address - freed->address), freed->bytes);
  } else if (owner != nullptr && address < owner->address + owner->pageBytes + GUARD) {
    snprintf(text, bytes, "%s accesses byte %llu of an allocation of %zu", name,
             (unsigned long long)(address - owner->address), owner->bytes);
  } else {
    snprintf(text, bytes, "%s accesses 0x%llx, where nothing is allocated", name, (unsigned long long)address);
  }
}
