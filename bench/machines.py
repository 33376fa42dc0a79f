"""machines.py: how each machine monitor is started, and a guest on the other end of its serial line.

A machine is a name, the program that must be installed, and what it can boot:
a disk with firmware, or a kernel directly.  Knows nothing of what is measured.
"""
import os, re, selectors, shutil, socket, subprocess, time

ROM = "/usr/share/seabios/bios-256k.bin"


class Guest:
    """A running machine and its serial line."""

    def __init__(self, argv, scratch, listener=None, env=None):
        self.name = os.path.basename(argv[0])
        self.buffer, self.stamp = b"", 0
        log = open(f"{scratch}/{self.name}.log", "w")
        self.started = time.monotonic()
        if listener:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
            listener.settimeout(30)
            self.connection, _ = listener.accept()
            self.rfd = self.wfd = self.connection.fileno()
            listener.close()
        else:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env)
            self.rfd, self.wfd = self.process.stdout.fileno(), self.process.stdin.fileno()
        log.close()
        os.set_blocking(self.rfd, False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.rfd, selectors.EVENT_READ)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def fill(self, end, what):
        left = end - time.monotonic()
        if left <= 0 or not self.selector.select(left):
            raise RuntimeError(f"{self.name}: no '{what}' in time; last: {self.buffer[-200:]!r}")
        data = os.read(self.rfd, 65536)
        self.stamp = time.monotonic()
        if not data:
            raise RuntimeError(f"{self.name}: ended early with status {self.process.wait()}")
        self.buffer += data

    def lines(self, until, limit):
        """Yields (time, line) up to the line that ends with `until`."""
        end = time.monotonic() + limit
        while True:
            while b"\n" in self.buffer:
                line, self.buffer = self.buffer.split(b"\n", 1)
                text = re.sub(r"\x1b\[[0-9;?=]*[a-zA-Z]", "", line.decode("latin1")).strip("\r ")
                yield self.stamp, text
                if text.endswith(until):
                    return
            self.fill(end, until)

    def wait(self, until, limit):
        """Seconds from the start to the line that ends with `until`."""
        for stamp, _ in self.lines(until, limit):
            pass
        return stamp - self.started

    def prompt(self, text, limit=600):
        """The same to a text without an end of line, and what stands before it is forgotten."""
        end = time.monotonic() + limit
        while text not in self.buffer:
            self.fill(end, text)
        self.buffer = self.buffer.split(text, 1)[1]
        return self.stamp - self.started

    def wait_byte(self, byte, limit):
        """The same to a byte."""
        end = time.monotonic() + limit
        while byte not in self.buffer:
            self.fill(end, byte)
        return self.stamp - self.started

    def send(self, data):
        os.write(self.wfd, data)

    def cpu(self):
        """Seconds of processor time that all of its threads have had."""
        return sum(int(open(f"/proc/{pid}/task/{t}/schedstat").read().split()[0])
                   for pid in self.pids() for t in os.listdir(f"/proc/{pid}/task")) / 1e9

    def pids(self):
        """The machine's processes."""
        children = open(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read().split()
        return [self.process.pid] + [int(c) for c in children]


class Machine:
    """`memory` is in MiB.  A `linux` has kernel, initrd and append, and disk: an image whose GRUB boots the same."""
    name, program, direct = None, None, True
    parts = None	# that it takes part in; None: all

    def __init__(self, build):
        self.build = build

    def installed(self):
        return self.program is None or bool(shutil.which(self.program))


class Cleave(Machine):
    name = "cleave"

    def start(self, scratch, memory, *args):
        return Guest([f"{self.build}/cleave", "-m", f"{memory}M", "-l", "com1,stdio", *args, f"bench-{self.name}-{os.getpid()}"], scratch)

    def boot_disk(self, scratch, disk, memory=64, *args):
        return self.start(scratch, memory, "-l", f"bootrom,{ROM}", "-s", f"1:1,ide,hd0={disk}", *args)

    def boot_linux(self, scratch, linux, memory=256, *args):
        return self.start(scratch, memory, "-u", "--kernel", linux.kernel, "--initrd", linux.initrd, "--append", linux.append, *args)

    def virtio_disk(self, image, slot=3):
        return "-s", f"{slot},virtio-blk,{image}"

    def virtio_net(self):
        return "-s", "4,virtio-net,slirp"

    def boot_rom(self, scratch, rom):
        return self.start(scratch, 256, "-l", f"bootrom,{rom}")


class Interpreter(Cleave):
    """The same without its translator."""
    name, parts = "interpreter", ("kernels", "boot")

    def start(self, scratch, memory, *args):
        return super().start(scratch, memory, "-o", "engine=soft", "-o", "jit=off", *args)


class Tcg(Machine):
    name, program = "qemu-tcg", "qemu-system-x86_64"

    def start(self, scratch, memory, *args):
        return Guest([self.program, "-accel", "tcg", "-M", "pc", "-m", str(memory), "-display", "none", "-serial", "stdio",
                      "-monitor", "none", "-nic", "none", *args], scratch)

    def boot_disk(self, scratch, disk, memory=64):
        return self.start(scratch, memory, "-drive", f"file={disk},format=raw,if=ide")

    def boot_linux(self, scratch, linux, memory=256, *args):
        return self.start(scratch, memory, "-cpu", "max", "-kernel", linux.kernel, "-initrd", linux.initrd, "-append", linux.append, *args)

    def virtio_disk(self, image, slot=3):
        return "-drive", f"file={image},format=raw,if=virtio"

    def virtio_net(self):
        return "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"

    def boot_rom(self, scratch, rom):
        return self.start(scratch, 256, "-bios", rom)


class Bochs(Machine):
    name, program, direct = "bochs", "bochs-bin", False

    def boot_disk(self, scratch, disk, memory=64):
        listener = socket.create_server(("127.0.0.1", 0))
        if os.path.exists(f"{disk}.lock"):  # what an earlier Bochs left when it was ended
            os.unlink(f"{disk}.lock")
        with open(f"{scratch}/bochsrc", "w") as rc:
            rc.write(f"""megs: {memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=disk, path={disk}, mode=flat, cylinders={os.path.getsize(disk) // (1008 * 512)}, heads=16, spt=63
boot: disk
display_library: rfb, options="timeout=0"
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
plugin_ctrl: speaker=false
com1: enabled=1, mode=socket-client, dev=127.0.0.1:{listener.getsockname()[1]}
log: {scratch}/bochs.messages
clock: sync=none
cpu: ips=200000000
""")
        with open(f"{scratch}/continue", "w") as f:
            f.write("c\n")
        return Guest([self.program, "-q", "-f", f"{scratch}/bochsrc", "-rc", f"{scratch}/continue"], scratch, listener)


KINDS = (Cleave, Interpreter, Tcg, Bochs)
