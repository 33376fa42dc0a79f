# server.py ADDRESS HASH [PORT]: the far end of network tests, in the current directory.
#
#	PORT	gives the file `blob`; 7000 where no port is given
#	+ 1	takes a file; its checksum, by this function, goes into the file `taken`
#	+ 2	says whether the file `go` is there: go, or wait
#
# `serving` is there once the ports are.
import hashlib
import os
import socket
import sys
import threading


def give(s):
    with open("blob", "rb") as f:
        s.sendfile(f)
    s.shutdown(socket.SHUT_WR)
    while s.recv(65536):
        pass


def take(s):
    h = hashlib.new(sys.argv[2])
    while data := s.recv(1 << 16):
        h.update(data)
    with open("taken.new", "w") as f:
        f.write(h.hexdigest())
    os.rename("taken.new", "taken")


def tell(s):
    s.sendall(b"go\n" if os.path.exists("go") else b"wait\n")


def run(s, what):
    try:
        with s:
            what(s)
    except OSError as e:
        print(f"server.py: {what.__name__}: {e}", file=sys.stderr)


def serve(listener, what):
    while True:
        s, _ = listener.accept()
        threading.Thread(target=run, args=(s, what), daemon=True).start()


threads = []
for offset, what in enumerate((give, take, tell)):
    listener = socket.create_server((sys.argv[1], int(sys.argv[3] if len(sys.argv) > 3 else 7000) + offset))
    threads.append(threading.Thread(target=serve, args=(listener, what), daemon=True))
for t in threads:
    t.start()
open("serving", "w").close()
threads[0].join()
