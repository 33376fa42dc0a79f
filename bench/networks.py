"""networks.py: TCP of a Linux guest to this machine's loopback, through libslirp on every machine."""
import os, socket, subprocess, threading

from parts import SCRIPTS, Rates


class Server(threading.Thread):
    """Gives, takes or echoes as many bytes as a connection's first line says."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, c):
        with c, memoryview(bytearray(1 << 20)) as block:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = b""
            while not line.endswith(b"\n"):
                line += c.recv(1)
            what, n = line.split()
            left = int(n)
            c.sendall(b".")
            try:
                if what == b"receive":
                    while left:
                        left -= c.send(block[:min(left, len(block))])
                    c.recv(1)
                elif what == b"send":
                    while left and (got := c.recv_into(block, min(left, len(block)))):
                        left -= got
                    c.sendall(b".")
                    c.recv(1)
                else:
                    while byte := c.recv(1):
                        c.sendall(byte)
            except OSError:
                pass        # the guest has been ended


class Networks(Rates):
    """Throughput and round trips of virtio-net."""
    name = "networks"
    title = "TCP between a Linux guest and this machine's loopback, by virtio-net and slirp; more is better"
    digits = 1
    work = (("guest receives", "receive", 128 << 20), ("guest sends", "send", 128 << 20), ("round trips of a byte", "ping", 2000))

    def prepare(self):
        files = f"{self.scratch}/net-files"
        os.makedirs(files)
        self.server = Server()
        self.server.start()
        subprocess.run(["cp", f"{self.build}/bench/net", f"{files}/net"], check=True)
        with open(f"{files}/net.sh", "w") as f:
            f.write("ip link set lo up; ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up\n"
                    f"until ping -c 1 -W 1 10.0.2.2 >/dev/null; do :; done\n/net 10.0.2.2 {self.server.port}\n")
        run = lambda *args, **more: subprocess.run(args, check=True, capture_output=True, text=True, **more).stdout.strip()
        self.kernel, self.initrd = run(f"{SCRIPTS}/getkernel"), f"{self.scratch}/net-initrd.img"
        self.append = "console=ttyS0 quiet nosoftlockup tsc=nowatchdog cleave.run=/net.sh"
        run(f"{SCRIPTS}/mkinitramfs", self.initrd, run(f"{SCRIPTS}/getkernel", "modules"), env={**os.environ, "MKINITRAMFS_ADD": files})
        self.machines = [m for m in self.machines if m.direct]

    def round(self):
        for machine in self.machines:
            with machine.boot_linux(self.scratch, self, 256, *machine.virtio_net()) as guest:
                guest.wait("ready", 400)
                for name, command, amount in self.work:
                    guest.send(f"{command} {amount}\n".encode())
                    for stamp, line in guest.lines("ready", 300):
                        words = line.split()
                        if words[:1] == ["begin"]:
                            begun = stamp
                        elif words[:1] == ["wrong:"]:
                            raise RuntimeError(f"{machine.name}: {line}")
                        elif words[:1] == ["end"]:
                            seconds = stamp - begun
                            if command == "ping":
                                self.add(name, machine.name, amount / seconds, "1/s")
                            else:
                                self.add(name, machine.name, amount / seconds / 1e6, "MB/s")
