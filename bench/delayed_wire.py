"""A wire that takes its time: joins two new tap devices, either way, frames in order and none lost, for slow_network.ts.

Arguments: names of the devices and the milliseconds from one to the other. Says so when they are there, and ends when its
input does. What netem does in the kernel, for kernels without it.
"""

import contextlib
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
FRAME = 65536


def tap(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


ends = [tap(name) for name in sys.argv[1:3]]
other = dict(zip(ends, reversed(ends)))
delay = float(sys.argv[3]) / 1000
frames = deque()  # when due, where to and what: all take equally long, so the first is the next
print("ready", flush=True)
while True:
    pause = max(0, frames[0][0] - time.monotonic()) if frames else None
    readable = select.select([*ends, sys.stdin], [], [], pause)[0]
    if sys.stdin in readable:
        break
    for end in readable:
        frames.append((time.monotonic() + delay, other[end], os.read(end, FRAME)))
    while frames and frames[0][0] <= time.monotonic():
        _, end, frame = frames.popleft()
        with contextlib.suppress(OSError):  # that end is down, as both are at first
            os.write(end, frame)
