"""A stranger that sends as fast as it can: python3 flood.py IP PORT SECONDS PACKETS_PER_SECOND

Prints how many packets it sent. UDP segmentation lets one system call send many; where the
kernel has none for this device, it is one for each.
"""

import socket
import sys
import time

UDP_SEGMENT = 103
SIZE = 40
BATCH = 40


def send_batch(sock, packet):
    try:
        sock.send(packet * BATCH)
    except OSError:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
        sock.send(packet)
        return 1
    return BATCH


def main():
    ip, port, seconds, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((ip, port))
    sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SIZE)
    packet = b"\x80\x08" + bytes(SIZE - 2)
    start = time.monotonic()
    sent = 0
    while True:
        passed = time.monotonic() - start
        if passed >= seconds:
            break
        if sent > passed * rate:
            time.sleep(0.0005)
        else:
            sent += send_batch(sock, packet)
    print("sent", sent, flush=True)


if __name__ == "__main__":
    main()
