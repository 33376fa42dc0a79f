# storm.py NAME KILLS PID: kill -9 for the device model of a machine, again and again, and somebody who types meanwhile.
#
# With $STORM_UPGRADE, the path of cleavectl, it is upgraded instead, each time to
# the next of $STORM_UPGRADE_TO's programs.  With $STORM_UPGRADE_KILL one of the
# machine's device models, the old one or the new one, is killed in each upgrade.
#
# Follows cleave's NAME.err: 1 to 100 ms after each successor has taken over it is
# killed.  Through the UNIX socket NAME.com2 lines are typed, each once the one
# before has come back, letter by letter the same.  One kill in four takes all
# device models that there are: a spare, where one stands by.  When KILLS have been, and at
# least some lines, "stop" is typed.  Ends with the machine; prints its count,
# status 1 if an echo was another.
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time

name, wanted, vm = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(os.environ.get("SEED", "1"))
kills, taken, wrong, lines, stalls, murders = 0, 0, [], 0, [], 0
murder = os.environ.get("STORM_UPGRADE_KILL")
upgrade, programs = os.environ.get("STORM_UPGRADE"), os.environ.get("STORM_UPGRADE_TO", "").split()
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def alive():
    try:
        return "Z (zombie)" not in open(f"/proc/{vm}/status").read()
    except OSError:
        return False


def parent(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0


def type_lines():
    """One line at a time; what came back stands in `wrong` if it is not what was sent."""
    global lines
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(name + ".com2")
        s.settimeout(120)
        while kills < wanted or lines < 20:
            sent = f"{lines}:" + "".join(random.choices(LETTERS, k=random.randrange(1, 50))) + "\n"
            got = ""
            s.sendall(sent.encode())
            while not got.endswith("\n") and len(got) < len(sent):
                part = s.recv(1000)
                if not part:
                    raise OSError("the line went dead")
                got += part.decode("latin1")
            if got != sent:
                wrong.append((sent, got))
                break
            lines += 1
        s.sendall(b"stop\n")
        try:
            if extra := s.recv(1):
                wrong.append(("", extra))
        except (socket.timeout, OSError):
            pass


def run_typist():
    try:
        type_lines()
    except OSError as e:
        wrong.append(("", e))


def ready():
    with open(name + ".out", "rb") as f:
        return b"result: ready" in f.read()


def device_models():
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and parent(pid) == vm and name_of(pid).startswith("cleaved")]


def name_of(pid):
    try:
        return open(f"/proc/{pid}/comm").read()
    except OSError:
        return ""


def kill(pid):
    """And whatever stands by, now and then: one time in four at least, as soon as something does."""
    global taken
    standby = [p for p in device_models() if p != pid]
    if standby and (random.randrange(4) == 0 or taken < kills // 4):
        taken += 1
    else:
        standby = []
    for one in [pid, *standby]:
        try:
            os.kill(one, 9)
        except ProcessLookupError:
            pass


def kill_one():
    """The old one or the new one, if there are two by then."""
    global murders
    time.sleep(random.uniform(0, 0.012))
    if models := device_models():
        try:
            os.kill(random.choice(models), 9)
            murders += 1
        except ProcessLookupError:
            pass


def upgrade_children():
    global kills
    path = f"={programs[kills % len(programs)]}" if programs else ""
    done = subprocess.Popen([upgrade, f"--vm={name}", f"--upgrade-devmodel{path}"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if murder:
        kill_one()
    out, err = done.communicate()
    if m := re.search(r"stall (\d+) us", out):
        stalls.append(int(m[1]))
    if m or murder:		# with a kill it is enough to have tried
        kills += 1
    elif alive():
        wrong.append(("", f"cleavectl: {err or out}"))


def kill_children(err):
    global kills
    typist = None
    text = ""
    while alive():
        if not typist and os.path.exists(name + ".com2") and ready():
            typist = threading.Thread(target=run_typist, daemon=True)
            typist.start()
        if upgrade and kills < wanted and not wrong:
            time.sleep(random.uniform(0.001, 0.1))
            upgrade_children()
            continue
        text += err.read()
        *whole, text = text.split("\n")
        pids = [int(m[1]) for line in whole if (m := re.search(r"process (\d+) took over", line))]
        if pids and kills < wanted:
            time.sleep(random.uniform(0.001, 0.1))
            if parent(pids[-1]) == vm:
                kill(pids[-1])
                kills += 1
        else:
            time.sleep(0.002)
    if typist:
        typist.join(5)


def first():
    return next(iter(device_models()), 0)


while alive() and not (pid := first()):
    time.sleep(0.01)
# The way from power-on to the shell is a workload of its own.
while alive() and "-boot" not in name and not ready():
    time.sleep(0.01)
with open(name + ".err") as err:
    time.sleep(random.uniform(0.001, 0.1))
    if alive() and not upgrade:
        os.kill(first(), 9)
        kills += 1
    kill_children(err)
if upgrade and stalls:
    stalls.sort()
    p50, p99 = (stalls[min(len(stalls) - 1, len(stalls) * p // 100)] for p in (50, 99))
    if murder:
        print(f"{murders} killed in upgrades; ", end="")
    print(f"{kills if not murder else len(stalls)} upgrades, stall p50 {p50} us, p99 {p99} us, {lines} lines typed and echoed")
else:
    print(f"{kills} kills, {lines} lines typed and echoed")
for sent, got in wrong:
    print(f"typed {sent!r}, came back {got!r}")
sys.exit(1 if wrong else 0)
