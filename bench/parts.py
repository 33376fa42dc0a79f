"""parts.py: what is measured.  Each part adds samples in rounds, then says what they mean.

Whatever runs on several machines runs on them in turns, round by round.  Times
are the host's, between two lines on the guest's serial port: a slow machine's
own clock may be anything.
"""
import contextlib, os, re, signal, statistics, subprocess, tempfile, time

from machines import Bochs
from report import cell, geometric_mean, percentile, plot, table

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(os.path.dirname(HERE), "scripts")


def tsc_hz():
    for line in open("/proc/cpuinfo"):
        if line.startswith("cpu MHz"):
            return float(line.split(":")[1]) * 1e6
    return 0


class Part:
    def __init__(self, bench):
        self.build, self.scratch, self.samples, self.bench = bench.build, bench.scratch, bench.samples, bench
        self.known = [m for m in bench.known if not m.parts or self.name in m.parts]
        self.machines = [m for m in self.known if m in bench.machines]

    def add(self, workload, machine, value, unit):
        self.samples.add(self.name, workload, machine, value, unit)

    def get(self, workload, machine):
        return self.samples.rows.get((self.name, workload, machine), [])

    def median(self, workload, machine):
        return self.samples.median(self.name, workload, machine)

    def columns(self):
        """Every machine, one that is not installed too."""
        return [m.name for m in self.known]

    def cell(self, workload, machine, digits=1):
        if machine not in [m.name for m in self.machines]:
            return "not installed"
        values = self.get(workload, machine)
        return cell(values, digits) if values else ""

    def prepare(self):
        pass

    def finish(self):
        pass


class Rates(Part):
    """Work a second in a Linux guest whose kernel is loaded directly, which Bochs cannot: beside TCG, more is better."""
    digits = 0

    def columns(self):
        return [m.name for m in self.known if m.name != Bochs.name]

    def show(self, out):
        out(self.title)
        rows = []
        for w in self.samples.workloads(self.name):
            unit = self.samples.units[self.name, w, "cleave"]
            rest = self.columns()[1:]
            ratios = [f"{self.median(w, 'cleave') / self.median(w, m):.2f}" if self.median(w, m) else "" for m in rest]
            rows.append((f"{w}, {unit}", *(self.cell(w, m, self.digits) for m in self.columns()), *ratios))
        table(out, ("", *self.columns(), *(f"cleave/{m}" for m in self.columns()[1:])), rows)


class Access(Part):
    """One access of a device, on the raw ring and on the engine's paths, without a guest."""
    name = "access"

    def round(self):
        for program in ("bench/ring_pingpong", "bench/inout_bench"):
            result = subprocess.run([f"{self.build}/{program}"], capture_output=True, text=True, timeout=120)
            if result.returncode:
                raise RuntimeError(f"{program}: {result.stderr.strip() or result.returncode}")
            for line in result.stdout.splitlines():
                words = line.split()
                for word in words[1:]:
                    key, _, value = word.partition("=")
                    if re.fullmatch(r"(p\d+|mid)_ns", key):
                        self.add(f"{words[0]} {key[:-3]}", "cleave", float(value), "ns")

    def show(self, out):
        out("Time of one access, ns")
        table(out, ("", "median (low..high)"), [(w, cell(self.get(w, "cleave"))) for w in self.samples.workloads(self.name) if not w.endswith(" mid")])
        for text, a, b in (("hot round trip / raw ring ping-pong (goal: at most 1.5)", "daemon_hot p50", "ring_pingpong p50"),
                           ("daemon read / shadow read (goal: at least 5)", "daemon_hot p50", "shadow p50")):
            if self.median(a, "cleave") and self.median(b, "cleave"):
                out(f"  {text}: {self.median(a, 'cleave') / self.median(b, 'cleave'):.2f}")
        for text, a in (("a read", "hot"), ("a write", "write"), ("512 bytes", "batch")):
            pairs = list(zip(self.get(f"daemon_{a} mid", "cleave"), self.get(f"bare_{a} mid", "cleave")))
            if pairs:
                out(f"  {text} with transactions / without (goal: at most 1.15): {cell([d / b for d, b in pairs], 3)}")


class Devices(Part):
    """A freestanding guest: string I/O, loops and copies of 32-bit code."""
    name = "devices"
    disk_mib = 16
    commands = {"bochs": "cd"}	# its fw_cfg has none

    def prepare(self):
        self.disk = f"{self.scratch}/devices.img"
        with open(f"{self.build}/bench/guest.img", "rb") as f:
            image = f.read()
        with open(self.disk, "wb") as f:
            f.write(image)
            f.truncate(self.disk_mib << 20)
            f.seek(1 << 20)
            f.write(os.urandom(1 << 20) * (self.disk_mib - 1))	# no holes

    def command(self, guest, byte, limit=120):
        """Returns {workload: (seconds, amount)} and {name: samples}."""
        timed, sampled, begun, name = {}, {}, {}, None
        guest.send(byte)
        for stamp, line in guest.lines("ready", limit):
            words = line.split()
            if not words:
                continue
            if words[0] == "begin":
                begun[words[1]] = stamp
            elif words[0] == "end" and words[1] in begun:
                if stamp == begun[words[1]]:
                    raise RuntimeError(f"{guest.name}: {words[1]} began and ended in one reading: this machine is too busy to measure on")
                timed[words[1]] = (stamp - begun[words[1]], int(words[2], 16))
            elif words[0] == "samples":
                name, sampled[words[1]] = words[1], []
            elif words[0] == "end-samples":
                name = None
            elif name:
                sampled[name].append(int(words[0], 16))
        return timed, sampled

    def round(self):
        for machine in self.machines:
            with machine.boot_disk(self.scratch, self.disk) as guest:
                guest.wait("ready", 90)
                for c in self.commands.get(machine.name, "cdf"):
                    for name, (seconds, amount) in self.command(guest, c.encode())[0].items():
                        unit, by = {"loop": ("MIPS", 1e6), "sieve": ("rounds/s", 1)}.get(name, ("MB/s", 1e6))
                        self.add(name, machine.name, amount / seconds / by, unit)
                if machine.name == "cleave":
                    for name, values in self.command(guest, b"s")[1].items():
                        for p in (50, 99):
                            self.add(f"{name} p{p}", "cleave", percentile(values, p) / tsc_hz() * 1e9, "ns")

    def show(self, out):
        out("In a freestanding guest; more is better but for ns")
        rows = []
        for w in self.samples.workloads(self.name):
            mine, unit = self.median(w, "cleave"), self.samples.units.get((self.name, w, "cleave"))
            cells = [self.cell(w, m) for m in self.columns()]
            ratios = [f"{mine / self.median(w, m):.2f}" if mine and self.median(w, m) else "" for m in self.columns()[1:]]
            rows.append((f"{w}, {unit}", *cells, *ratios))
        table(out, ("", *self.columns(), *(f"cleave/{m}" for m in self.columns()[1:])), rows)


class Linux:
    """Debian's cloud kernel with an initramfs that gives the benchmark programs the serial line."""
    append = "console=ttyS0 quiet nosoftlockup tsc=nowatchdog cleave.run=/kernels.sh"

    def __init__(self, build, scratch):
        files = f"{scratch}/initramfs"
        os.makedirs(files)
        with open(f"{build}/bench/kernels", "rb") as f, open(f"{files}/kernels", "wb") as to:
            to.write(f.read())
        os.chmod(f"{files}/kernels", 0o755)
        with open(f"{files}/kernels.sh", "w") as f:
            f.write("/kernels -\n")
        self.kernel = subprocess.run([f"{SCRIPTS}/getkernel"], check=True, capture_output=True, text=True).stdout.strip()
        self.initrd, self.disk = f"{scratch}/initrd.img", f"{scratch}/linux.img"
        subprocess.run([f"{SCRIPTS}/mkinitramfs", self.initrd], check=True, env={**os.environ, "MKINITRAMFS_ADD": files})
        subprocess.run([f"{SCRIPTS}/mkgrub", "disk", self.disk], check=True, env={
            **os.environ, "MKGRUB_KERNEL": self.kernel, "MKGRUB_INITRD": self.initrd, "MKGRUB_APPEND": self.append, "MKGRUB_TIMEOUT": "0"})


def boot(machine, scratch, linux):
    return machine.boot_linux(scratch, linux) if machine.direct else machine.boot_disk(scratch, linux.disk, 256)


class Kernels(Part):
    """Static programs in a Linux guest, as slow-down against the same program run natively."""
    name = "kernels"
    seconds = 0.4		# of one measurement

    def prepare(self):
        self.program = f"{self.build}/bench/kernels"
        self.names = subprocess.run([self.program], check=True, capture_output=True, text=True).stdout.split()
        self.names = [n for n in self.names if re.search(self.bench.only or "", n)]
        self.stack = contextlib.ExitStack()
        self.guests, self.units, self.sums, self.clock = {}, {}, {}, {}
        for machine in self.machines:
            guest = self.stack.enter_context(boot(machine, self.scratch, self.bench.linux()))
            guest.wait("ready", 400)
            if machine.name == Bochs.name:	# it has no idle; the others take no time when they have nothing to do
                self.stop(guest)
            self.guests[machine.name] = guest

    def stop(self, guest):
        os.kill(guest.process.pid, signal.SIGSTOP)

    def native(self, name, units):
        result = subprocess.run([self.program, name, str(units)], check=True, capture_output=True, text=True, timeout=60)
        words = result.stdout.splitlines()[-1].split()
        return int(words[5 if self.bench.cpu_time else 4]) / 1e9, words[3]

    def in_guest(self, machine, name, units):
        guest, begun = self.guests[machine], None
        os.kill(guest.process.pid, signal.SIGCONT)
        cpu = guest.cpu()
        guest.send(f"{name} {units}\n".encode())
        for stamp, line in guest.lines("ready", 300):
            words = line.split()
            if words[:2] == ["begin", name]:
                begun = stamp
            elif words[:1] == ["wrong"]:
                raise RuntimeError(f"{machine}: {line}: units of one run differ")
            elif words[:2] == ["end", name]:
                seconds, checksum = stamp - begun, words[3]
                self.clock.setdefault(machine, []).append(int(words[4]) / 1e9 / seconds)
        if self.bench.cpu_time:
            seconds = (guest.cpu() - cpu) * units / (units + 1)	# the warm-up is one more
        if machine == Bochs.name:
            self.stop(guest)
        return seconds, checksum

    def measure(self, machine, name):
        """Seconds for a unit.  The first run finds out how many make a measurement."""
        run = lambda units: self.native(name, units) if machine == "native" else self.in_guest(machine, name, units)
        if (machine, name) not in self.units:
            units, (seconds, _) = 1, run(1)
            while seconds < self.seconds / 10:
                units *= 8
                seconds, _ = run(units)
            self.units[machine, name] = max(1, round(units * self.seconds / seconds))
        units = self.units[machine, name]
        seconds, checksum = run(units)
        if self.sums.setdefault(name, checksum) != checksum:
            raise RuntimeError(f"{machine}: {name} computes {checksum}, natively it is {self.sums[name]}")
        return seconds / units

    def round(self):
        for name in self.names:
            native = self.measure("native", name)
            self.add(f"{name} time", "native", native * 1e6, "us")
            for machine in self.guests:
                self.add(name, machine, self.measure(machine, name) / native, "slow-down")

    def finish(self):
        self.stack.close()

    def show(self, out):
        peers = self.columns()[1:]
        out("Programs in a Linux guest: time against the same program run natively (1: as fast); checksums equal")
        rows, ratios = [], {p: [] for p in peers}
        for w in self.names:
            r = []
            for p in peers:
                pairs = list(zip(self.get(w, p), self.get(w, "cleave")))
                r.append(f"{statistics.median(a / b for a, b in pairs):.2f}" if pairs else "")
                ratios[p] += [statistics.median(a / b for a, b in pairs)] if pairs else []
            rows.append((w, *(self.cell(w, m) for m in self.columns()), *r))
        mean = lambda m: f"{geometric_mean([self.median(w, m) for w in self.names]):.1f}" if self.get(self.names[0], m) else ""
        rows.append(("geometric mean", *(mean(m) for m in self.columns()), *(f"{geometric_mean(ratios[p]):.2f}" if ratios[p] else "" for p in peers)))
        table(out, ("", *self.columns(), *(f"{p}/cleave" for p in peers)), rows)
        if self.bench.cpu_time:
            out("  by processor time, not the clock on the wall")
            self.clock.clear()
        for m, values in self.clock.items():
            if not 0.9 < statistics.median(values) < 1.1:
                out(f"  {m}: a second of the guest's clock takes {1 / statistics.median(values):.2f} s, so it was not asked")
        for m, text, mean, least in (("bochs", "Bochs", 2, 1.2), ("qemu-tcg", "TCG", 5, 1)):
            if ratios.get(m):
                out(f"  against {text}: geometric mean {geometric_mean(ratios[m]):.2f} (goal: at least {mean}), lowest {min(ratios[m]):.2f} (goal: at least {least})")
        plot(f"{self.build}/bench-kernels.svg", "Slow-down against native", self.names,
             {m: {w: self.median(w, m) for w in self.names} for m in self.columns() if self.get(self.names[0], m)})


class Boot(Part):
    """From the start of the process to the first line of init."""
    name = "boot"
    said = "cleave: init has started"

    def boot(self, guest):
        with guest:
            seconds = guest.wait(self.said, 300)
            return guest.cpu() if self.bench.cpu_time else seconds

    def round(self):
        linux = self.bench.linux()
        for machine in self.machines:
            if machine.direct:
                self.add("direct", machine.name, self.boot(machine.boot_linux(self.scratch, linux)), "s")
            if machine.name != Bochs.name or len(self.get("by GRUB", machine.name)) < 2:	# it takes a minute
                self.add("by GRUB", machine.name, self.boot(machine.boot_disk(self.scratch, linux.disk, 256)), "s")

    def show(self, out):
        out(f"Debian's cloud kernel, from the start of the process to init, s{' of processor time' if self.bench.cpu_time else ''}; Bochs boots by GRUB alone")
        table(out, ("", *self.columns()), [(w, *(self.cell(w, m, 2) for m in self.columns())) for w in self.samples.workloads(self.name)])
        for w, m in (("direct", "bochs"), ("by GRUB", "bochs"), ("direct", "qemu-tcg"), ("by GRUB", "qemu-tcg")):
            peer = self.median("by GRUB" if m == "bochs" else w, m)
            if peer and self.median(w, "cleave"):
                out(f"  {m} / cleave {w}: {peer / self.median(w, 'cleave'):.2f}{' (goal: at least 2)' if m == 'bochs' else ''}")


class Idle(Part):
    """What a machine costs that has nothing to do; and how soon it executes."""
    name = "idle"
    ram = 256

    def prepare(self):
        # mov $0x3f8, %dx; mov $'!', %al; out %al, (%dx); cli; hlt, at F000:0000, and a far jump there at the reset vector
        rom = bytearray(b"\xba\xf8\x03\xb0\x21\xee\xfa\xf4".ljust(65536, b"\0"))
        rom[65520:65525] = b"\xea\0\0\0\xf0"
        self.rom = f"{self.scratch}/first.rom"
        with open(self.rom, "wb") as f:
            f.write(rom)

    def pss(self, guest):
        """MiB of all processes, without mappings as large as the guest's memory, and Cleave's translated code, which jit.cache bounds."""
        total = 0
        for pid in guest.pids():
            size = code = 0
            for line in open(f"/proc/{pid}/smaps"):
                words = line.split()
                if "-" in words[0]:
                    code = words[-2:] == ["/dev/zero", "(deleted)"]
                elif words[0] == "Size:":
                    size = int(words[1])
                elif words[0] == "Pss:" and size < self.ram << 10 and not code:
                    total += int(words[1])
        return total / 1024

    def round(self):
        for machine in self.machines:
            if hasattr(machine, "boot_rom"):
                for _ in range(7):
                    with machine.boot_rom(self.scratch, self.rom) as guest:
                        self.add("to the first instruction's output, ms", machine.name, guest.wait_byte(b"!", 20) * 1000, "ms")
        if self.get("processor, % of a core", "cleave"):
            return
        for machine in self.machines:
            with boot(machine, self.scratch, self.bench.linux()) as guest:
                guest.wait("ready", 400)
                time.sleep(3)
                before, began = guest.cpu(), time.monotonic()
                time.sleep(20)
                self.add("processor, % of a core", machine.name, (guest.cpu() - before) / (time.monotonic() - began) * 100, "%")
                self.add("Pss without guest RAM, MiB", machine.name, self.pss(guest), "MiB")

    def show(self, out):
        out("Start, and Linux that waits for input (goals: 20 ms; under 32 MiB; under 2 %)")
        table(out, ("", *self.columns()), [(w, *(self.cell(w, m, 2) for m in self.columns())) for w in self.samples.workloads(self.name)])


PARTS = (Access, Devices, Kernels, Boot, Idle)
