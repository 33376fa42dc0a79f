"""stalls.py: how long a guest waits when its device model is killed, or upgraded.

A guest asks a device again and again and remembers the longest time between two
answers.  Its device model gets a SIGKILL; when a successor has taken over, the
guest is asked for the longest.  Each kill gives one number, in which all else
that kept the guest from running is contained; so there is a row without kills.  An
upgrade hands the machine over to the same executable, started anew.
"""
import os, random, re, signal, subprocess, time

from machines import Cleave
from parts import Part, tsc_hz
from report import percentile, table


class Stalls(Part):
    """The guest-visible stall of a succession."""
    name = "stall"
    kills = 1000		# in all rounds together
    ways = (("without a spare", (), 20), ("with a spare", ("-o", "devmodel.spare=on"), 10), ("upgrade", (), 20))	# arguments, goal in ms
    upgrades = 200

    def prepare(self):
        self.disk = f"{self.scratch}/stall.img"
        with open(f"{self.build}/bench/guest.img", "rb") as f, open(self.disk, "wb") as to:
            to.write(f.read())
            to.truncate(4 << 20)

    def successor(self, guest, log, seconds=20):
        """The process that has taken over."""
        end, text = time.monotonic() + seconds, ""
        while time.monotonic() < end:
            text += log.readline()
            if text.endswith("\n"):
                if found := re.search(r"process (\d+) took over", text):
                    return int(found[1])
                text = ""
            time.sleep(0.0002)
        raise RuntimeError(f"{guest.name}: no successor in {seconds} s")

    def longest(self, guest):
        """ms, since it was asked last."""
        guest.send(b"m")
        *_, (_, line) = guest.lines("", 20)
        return int(line, 16) * 256 / tsc_hz() * 1000

    def first(self, guest):
        """The device model of a machine that has just begun: a spare is younger."""
        return min(pid for pid in guest.pids()[1:] if open(f"/proc/{pid}/comm").read().startswith("cleaved"))

    def run(self, way, args, kills):
        with Cleave(self.build).boot_disk(self.scratch, self.disk, 64, *args) as guest, open(f"{self.scratch}/cleave.log") as log:
            guest.wait("ready", 90)
            guest.send(b"g")
            serving = self.first(guest)
            self.longest(guest)
            for _ in range(kills):
                pause = random.uniform(0.005, 0.03)	# in which a spare is made, or not yet
                time.sleep(pause)
                self.add("no kill", "cleave", self.longest(guest), "ms")
                time.sleep(pause)
                if way == "upgrade":
                    self.upgrade()
                else:
                    os.kill(serving, signal.SIGKILL)
                    serving = self.successor(guest, log)
                self.add(way, "cleave", self.longest(guest), "ms")

    def upgrade(self):
        subprocess.run([f"{self.build}/cleavectl", f"--vm=bench-cleave-{os.getpid()}", "--upgrade-devmodel"], stdout=subprocess.DEVNULL, check=True)

    def round(self):
        for way, args, _ in self.ways:
            self.run(way, args, -(-(self.upgrades if way == "upgrade" else self.kills) // self.bench.rounds))

    def show(self, out):
        out("The longest time for which a device kept a guest waiting, ms, when its device model was killed or upgraded")
        rows = []
        for w in ("no kill", *(way for way, _, _ in self.ways)):
            values = self.get(w, "cleave")
            goal = next((f"{g}" for way, _, g in self.ways if way == w), "")
            rows.append((w, len(values), *(f"{percentile(values, p):.2f}" for p in (50, 90, 99)), f"{max(values):.2f}", goal))
        table(out, ("", "n", "p50", "p90", "p99", "max", "goal for p99"), rows)
