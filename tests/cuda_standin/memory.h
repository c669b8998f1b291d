// Memory of devices and pinned memory. Each allocation ends at pages that fault, fresh memory is NaN, and freed memory
// faults for ever.
#pragma once
#include <cstddef>
#include <cstdint>

const int PINNED = -1;  // as number of a device

// An address, or 0 if there is not enough.
uint64_t allocate_memory(int device, size_t bytes);
// Makes memory of the process pinned memory, until it is freed here; false if a part of it is pinned already.
bool pin_memory(uint64_t address, size_t bytes);
// False if the address is not one that allocate_memory returned for this device and that is not freed.
bool free_memory(int device, uint64_t address);
// True if these bytes are within one allocation of the device.
bool is_memory(int device, uint64_t address, size_t bytes);
size_t memory_in_use(int device);
size_t memory_of_device();
// Number of allocations that are not freed, pinned ones included.
int allocations();
// Writes "NAME accesses ADDRESS, ..." for the text of a fault; takes no lock.
void describe_address(char* text, size_t bytes, const char* name, uint64_t address);
