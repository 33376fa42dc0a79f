"""debian.py: Debian with systemd, to its login and at work; the same images for each machine."""
import glob, os, shutil, subprocess, time

from parts import SCRIPTS, Rates
from report import table


class Debian(Rates):
    """Seconds; one round, since it takes minutes."""
    name = "debian"
    packages = ("libllvm14", "llvm-14-dev", "libclang-cpp14", "gcc-12", "g++-12", "cpp-12", "libicu-dev")	# 100 MiB and some
    append = "root=LABEL=root console=ttyS0 quiet nosoftlockup tsc=nowatchdog"
    work = (("unpack {} MiB of packages, s", "mkdir out && for p in *.deb; do dpkg-deb -x $p out || break; done && sync"),
            ("gcc -O2 of {} lines, s", "cd source && for f in vmm/x86/*.c; do gcc -O2 -Wall -I. -c $f -o /tmp/o.o || break; done"))

    def fetch(self):
        """The packages, where mkdebian keeps its images."""
        cache = os.path.join(os.environ.get("CLEAVE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "cleave"), "packages")
        os.makedirs(cache, exist_ok=True)
        missing = [p for p in self.packages if not glob.glob(f"{cache}/{p}_*.deb")]
        if missing:
            subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *missing], check=True, cwd=cache)
        return [glob.glob(f"{cache}/{p}_*.deb")[0] for p in self.packages]

    def prepare(self):
        self.machines = [m for m in self.machines if m.direct]
        made = subprocess.run([f"{SCRIPTS}/mkdebian", "gcc", "libc6-dev"], check=True, capture_output=True, text=True).stdout.strip()
        self.kernel, self.initrd, self.root = f"{made}/vmlinuz", f"{made}/initrd.img", f"{made}/debian.img"
        files, tree = f"{self.scratch}/debian-work", os.path.dirname(SCRIPTS)
        os.makedirs(f"{files}/source/vmm")
        shutil.copytree(f"{tree}/vmm/x86", f"{files}/source/vmm/x86")
        size = lines = 0
        for deb in self.fetch():
            shutil.copy(deb, files)
            size += os.path.getsize(deb)
        for path in glob.glob(f"{files}/source/vmm/x86/*.c") + glob.glob(f"{files}/source/vmm/x86/*.def"):
            with open(path) as f:
                lines += sum(1 for _ in f)
        self.names = [name.format(amount) for (name, _), amount in zip(self.work, (size >> 20, lines))]
        self.disk = f"{self.scratch}/debian-work.img"
        subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0,root_owner=0:0", "-d", files, self.disk, "3G"], check=True, stdout=subprocess.DEVNULL)

    def command(self, guest, text, limit=3600):
        """Seconds that it takes."""
        began, cpu, said = time.monotonic(), guest.cpu(), []
        guest.send(f"({text}); echo $? en''d\n".encode())
        for stamp, line in guest.lines(" end", limit):
            said.append(line)
        if said[-1].split()[-2] != "0":
            raise RuntimeError(f"{guest.name}: {text}: {said[-5:]}")
        return guest.cpu() - cpu if self.bench.cpu_time else stamp - began

    def round(self):
        if self.samples.workloads(self.name):
            return
        for machine in self.machines:
            disks = []
            for i, image in enumerate((self.root, self.disk)):
                disks.append(f"{self.scratch}/debian-{i}.img")
                subprocess.run(["cp", "--sparse=always", image, disks[-1]], check=True)
            with machine.boot_linux(self.scratch, self, 1024, *machine.virtio_disk(disks[0]), *machine.virtio_disk(disks[1], 5)) as guest:
                seconds = guest.prompt(b"login: ", 1800)
                self.add("to the login, s", machine.name, guest.cpu() if self.bench.cpu_time else seconds, "s")
                guest.send(b"root\n")
                guest.prompt(b"Password: ")
                guest.send(b"cleave\n")
                guest.prompt(b"# ")
                self.command(guest, "stty -echo")
                self.command(guest, "mount /dev/vdb /mnt && systemctl is-system-running --wait >/dev/null")
                for name, (_, text) in zip(self.names, self.work):
                    self.add(name, machine.name, self.command(guest, f"cd /mnt && {text}"), "s")

    def show(self, out):
        out(f"Debian with systemd, a gigabyte of memory, virtio disks{'; processor time' if self.bench.cpu_time else ''}; less is better")
        rest = self.columns()[1:]
        rows = []
        for w in self.samples.workloads(self.name):
            ratios = [f"{self.median(w, m) / self.median(w, 'cleave'):.2f}" if self.median(w, m) and self.median(w, "cleave") else "" for m in rest]
            rows.append((w, *(self.cell(w, m) for m in self.columns()), *ratios))
        table(out, ("", *self.columns(), *(f"{m}/cleave" for m in rest)), rows)
