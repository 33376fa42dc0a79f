"""disks.py: a virtio disk in a Linux guest; the image is in the host's page cache."""
import os, subprocess

from parts import SCRIPTS, Rates


class Disks(Rates):
    """Throughput and operations a second of virtio-blk."""
    name = "disks"
    title = "A virtio disk in a Linux guest, image in the page cache; more is better (goal: sequential at least TCG's)"
    disk_mib = 256
    # name, command, bytes of an operation, in flight together, total bytes or number of operations
    work = (("read by 1 MiB", "cat", 1 << 20, 1, 256 << 20), ("write by 1 MiB, and sync", "save", 1 << 20, 1, 256 << 20),
            ("direct read of 1 MiB", "read", 1 << 20, 1, 512 << 20), ("direct read of 128 KiB, 8 in flight", "read", 128 << 10, 8, 512 << 20),
            ("direct write of 1 MiB", "write", 1 << 20, 1, 512 << 20), ("direct write of 128 KiB, 8 in flight", "write", 128 << 10, 8, 512 << 20),
            ("random reads of 4 KiB", "randread", 4096, 1, 4000), ("random reads of 4 KiB, 16 in flight", "randread", 4096, 16, 8000),
            ("random writes of 4 KiB, 16 in flight", "randwrite", 4096, 16, 8000))

    def prepare(self):
        files, self.disk = f"{self.scratch}/disk-files", f"{self.scratch}/virtio.img"
        os.makedirs(files)
        subprocess.run(["cp", f"{self.build}/bench/disk", f"{files}/disk"], check=True)
        with open(f"{files}/disk.sh", "w") as f:
            f.write("/disk /dev/vda\n")
        with open(self.disk, "wb") as f:
            for _ in range(self.disk_mib):
                f.write(os.urandom(1 << 20))
        run = lambda *args, **more: subprocess.run(args, check=True, capture_output=True, text=True, **more).stdout.strip()
        self.kernel, self.initrd = run(f"{SCRIPTS}/getkernel"), f"{self.scratch}/disk-initrd.img"
        self.append = "console=ttyS0 quiet nosoftlockup tsc=nowatchdog cleave.run=/disk.sh"
        run(f"{SCRIPTS}/mkinitramfs", self.initrd, run(f"{SCRIPTS}/getkernel", "modules"), env={**os.environ, "MKINITRAMFS_ADD": files})
        self.machines = [m for m in self.machines if m.direct]

    def round(self):
        for machine in self.machines:
            with machine.boot_linux(self.scratch, self, 256, *machine.virtio_disk(self.disk)) as guest:
                guest.wait("ready", 400)
                for name, command, size, depth, amount in self.work:
                    guest.send(f"{command} {size} {depth} {amount}\n".encode())
                    for stamp, line in guest.lines("ready", 120):
                        words = line.split()
                        if words[:1] == ["begin"]:
                            begun = stamp
                        elif words[:1] == ["wrong:"]:
                            raise RuntimeError(f"{machine.name}: {line}")
                        elif words[:1] == ["end"]:
                            done, n = int(words[2]), int(words[3])
                            unit, amount = ("1/s", n) if "rand" in command else ("MB/s", done / 1e6)
                            self.add(name, machine.name, amount / (stamp - begun), unit)
