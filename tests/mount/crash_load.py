"""A load that knows what was acknowledged, and checks it after the daemon was killed.

A Writer makes random system calls in a directory of its own. Before each call it writes a line
"B {call}" to a log outside of the mount, after it "D", or "E errno". check() replays the log into
a model: the tree must equal the model of all acknowledged calls, or that plus the one call that
was under way. Of a write under way each byte may be old or new. Data are generated from a token
that is unique to the call, so foreign bytes are noticed.
"""

import errno
import hashlib
import json
import os
import random
import stat

FILES = 12
SLOTS = 4
SIZE_MAX = 300000


def data_of(token, length):
    seed = hashlib.blake2b(token.encode(), digest_size=32).digest()
    return (seed * (length // 32 + 1))[:length]


class Inode:
    def __init__(self, kind, target=""):
        self.kind = kind
        self.target = target
        self.data = bytearray()
        self.xattrs = {}
        self.mode = None
        self.names = 0


class Model:
    """The tree as the acknowledged calls have left it."""

    def __init__(self):
        self.tree = {}
        self.slots = {}

    def copy(self):
        import copy
        return copy.deepcopy(self)

    def add(self, path, inode):
        self.tree[path] = inode
        inode.names += 1

    def remove(self, path):
        self.tree.pop(path).names -= 1

    def apply(self, op):
        getattr(self, "do_" + op["op"])(op)

    def do_open(self, op):
        inode = self.tree.get(op["path"])
        if inode is None:
            inode = Inode("file")
            inode.mode = 0o644
            self.add(op["path"], inode)
        elif op["truncate"]:
            inode.data.clear()
        self.slots[op["slot"]] = inode

    def do_write(self, op):
        data, file = data_of(op["token"], op["length"]), self.slots[op["slot"]].data
        at = op["at"]
        if at > len(file):
            file.extend(bytes(at - len(file)))
        file[at:at + len(data)] = data

    def do_ftruncate(self, op):
        file, size = self.slots[op["slot"]].data, op["size"]
        if size < len(file):
            del file[size:]
        else:
            file.extend(bytes(size - len(file)))

    def do_fsync(self, _):
        pass

    def do_close(self, op):
        del self.slots[op["slot"]]

    def do_rename(self, op):
        inode, replaced = self.tree[op["path"]], self.tree.get(op["to"])
        if inode is replaced:
            return
        if replaced is not None:
            self.remove(op["to"])
        self.remove(op["path"])
        self.add(op["to"], inode)

    def do_unlink(self, op):
        self.remove(op["path"])

    def do_link(self, op):
        self.add(op["to"], self.tree[op["path"]])

    def do_symlink(self, op):
        self.add(op["path"], Inode("symlink", op["target"]))

    def do_mkdir(self, op):
        self.add(op["path"], Inode("directory"))

    def do_rmdir(self, op):
        self.remove(op["path"])

    def do_chmod(self, op):
        self.tree[op["path"]].mode = op["mode"]

    def do_setxattr(self, op):
        self.tree[op["path"]].xattrs[op["name"]] = op["value"]


class Writer:
    def __init__(self, directory, log_path, seed):
        self.directory = directory
        self.random = random.Random(seed)
        self.log = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        self.model = Model()
        self.fds = {}
        self.count = 0

    def path(self, name):
        return os.path.join(self.directory, name)

    def choose(self):
        """The next call, one that must succeed."""
        r, model = self.random, self.model
        self.count += 1
        files = sorted(name for name, inode in model.tree.items() if inode.kind == "file")
        directories = sorted(name for name, inode in model.tree.items()
                             if inode.kind == "directory")
        name = f"f{r.randrange(FILES)}"
        free = [slot for slot in range(SLOTS) if slot not in model.slots]
        choices = []
        if free:
            choices += [{"op": "open", "slot": free[0], "path": name,
                         "truncate": r.random() < 0.4}] * 6
        for slot in model.slots:
            size = len(model.slots[slot].data)
            at = size if r.random() < 0.5 else r.randrange(min(size + 5000, SIZE_MAX))
            if at < SIZE_MAX:
                choices += [{"op": "write", "slot": slot, "at": at,
                             "length": int(1 + 40000 ** r.random()),
                             "token": f"{self.directory}:{self.count}"}] * 5
            choices.append({"op": "close", "slot": slot})
            choices.append({"op": "close", "slot": slot})
            if r.random() < 0.2:
                choices.append({"op": "ftruncate", "slot": slot, "size": r.randrange(SIZE_MAX)})
            if r.random() < 0.1:
                choices.append({"op": "fsync", "slot": slot})
        if files:
            path = r.choice(files)
            choices += [{"op": "rename", "path": path, "to": name}] * 2
            choices.append({"op": "unlink", "path": path})
            choices.append({"op": "chmod", "path": path, "mode": r.choice((0o644, 0o600, 0o755))})
            choices.append({"op": "setxattr", "path": path, "name": f"user.x{r.randrange(3)}",
                            "value": f"v{self.count}"})
            if name not in model.tree:
                choices.append({"op": "link", "path": path, "to": name})
        if f"s-{name}" not in model.tree:
            choices.append({"op": "symlink", "path": f"s-{name}", "target": f"to-{self.count}"})
        if f"d-{name}" not in model.tree:
            choices.append({"op": "mkdir", "path": f"d-{name}"})
        if directories:
            choices.append({"op": "rmdir", "path": r.choice(directories)})
        return r.choice(choices)

    def perform(self, op):
        kind = op["op"]
        if kind == "open":
            flags = os.O_CREAT | os.O_RDWR | (os.O_TRUNC if op["truncate"] else 0)
            self.fds[op["slot"]] = os.open(self.path(op["path"]), flags, 0o644)
        elif kind == "write":
            data = data_of(op["token"], op["length"])
            if os.pwrite(self.fds[op["slot"]], data, op["at"]) != len(data):
                raise OSError(errno.EIO, "short write")
        elif kind == "ftruncate":
            os.ftruncate(self.fds[op["slot"]], op["size"])
        elif kind == "fsync":
            os.fsync(self.fds[op["slot"]])
        elif kind == "close":
            os.close(self.fds.pop(op["slot"]))
        elif kind == "rename":
            os.rename(self.path(op["path"]), self.path(op["to"]))
        elif kind == "unlink":
            os.unlink(self.path(op["path"]))
        elif kind == "link":
            os.link(self.path(op["path"]), self.path(op["to"]))
        elif kind == "symlink":
            os.symlink(op["target"], self.path(op["path"]))
        elif kind == "mkdir":
            os.mkdir(self.path(op["path"]))
        elif kind == "rmdir":
            os.rmdir(self.path(op["path"]))
        elif kind == "chmod":
            os.chmod(self.path(op["path"]), op["mode"])
        elif kind == "setxattr":
            os.setxattr(self.path(op["path"]), op["name"], op["value"].encode())

    def run(self, stopped):
        """Until a call fails or stopped() says so; returns the number of acknowledged calls."""
        os.umask(0o022)
        while not stopped():
            op = self.choose()
            os.write(self.log, b"B " + json.dumps(op).encode() + b"\n")
            try:
                self.perform(op)
            except OSError as error:
                os.write(self.log, b"E %d\n" % (error.errno or 0))
                break
            self.model.apply(op)
            os.write(self.log, b"D\n")
        return self.count


def read_log(log_path):
    """(acknowledged calls, the one under way or None, errno of the failed one or None)."""
    done, pending, failed = [], None, None
    with open(log_path, "rb") as log:
        for line in log:
            if line.startswith(b"B "):
                pending = json.loads(line[2:])
            elif line.startswith(b"D"):
                done.append(pending)
                pending = None
            elif line.startswith(b"E "):
                failed = int(line[2:])
    return done, pending, failed


def check(directory, log_path):
    """Raises AssertionError if the tree is not what was acknowledged; returns how many calls."""
    done, pending, failed = read_log(log_path)
    if failed is not None and failed not in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO,
                                             errno.ENODEV, errno.EBADF):
        raise AssertionError(f"a call failed with {errno.errorcode.get(failed, failed)} while the "
                             f"daemon lived: {pending}")
    model = Model()
    for op in done:
        model.apply(op)
    models = [model]
    if pending is not None:
        after = model.copy()
        after.apply(pending)
        models.append(after)
    complaints = []
    for candidate in models:
        complaint = compare(directory, candidate)
        if complaint is None:
            return len(done)
        complaints.append(complaint)
    if pending is not None and pending["op"] == "write":
        complaint = compare(directory, model, models[1])
        if complaint is None:
            return len(done)
        complaints.append(complaint)
    raise AssertionError(f"{directory}: after {len(done)} acknowledged calls, under way "
                         f"{pending}: " + "; or ".join(complaints))


def compare(directory, model, other=None):
    """What differs, or None. With `other`, each byte may be that of either model."""
    found = set(os.listdir(directory))
    if found != set(model.tree):
        return f"names: missing {sorted(set(model.tree) - found)}, " \
               f"foreign {sorted(found - set(model.tree))}"
    for name, inode in model.tree.items():
        path = os.path.join(directory, name)
        info = os.lstat(path)
        complaint = compare_attributes(path, info, inode)
        if complaint is None and inode.kind == "file":
            with open(path, "rb") as file:
                data = file.read()
            twin = other.tree[name].data if other else inode.data
            complaint = compare_data(data, inode.data, twin)
        if complaint is not None:
            return f"{name}: {complaint}"
    return None


def compare_attributes(path, info, inode):
    kind = {"file": stat.S_ISREG, "directory": stat.S_ISDIR, "symlink": stat.S_ISLNK}[inode.kind]
    if not kind(info.st_mode):
        return f"is not a {inode.kind}"
    if inode.kind == "symlink":
        target = os.readlink(path)
        return None if target == inode.target else f"target {target!r}, not {inode.target!r}"
    if inode.kind == "file" and info.st_nlink != inode.names:
        return f"{info.st_nlink} links, not {inode.names}"
    if inode.mode is not None and stat.S_IMODE(info.st_mode) != inode.mode:
        return f"mode {stat.S_IMODE(info.st_mode):o}, not {inode.mode:o}"
    xattrs = {name: os.getxattr(path, name).decode() for name in os.listxattr(path)}
    return None if xattrs == inode.xattrs else f"attributes {xattrs}, not {inode.xattrs}"


def compare_data(data, first, second):
    if len(data) not in (len(first), len(second)):
        # A write at the end that was cut short.
        if not min(len(first), len(second)) <= len(data) <= max(len(first), len(second)):
            return f"{len(data)} bytes, not {len(first)}"
    if data in (first, second):
        return None
    for at, byte in enumerate(data):
        # A hole that the write under way left between the old end and its own bytes is zero.
        old = first[at] if at < len(first) else 0
        new = second[at] if at < len(second) else 0
        if byte not in (old, new):
            return f"byte {at} of {len(data)} is {byte:#x}, neither {old:#x} nor {new:#x}"
    return None if first is not second or len(data) == len(first) else "wrong length"


class Trainer:
    """Saves last.pt in place and model.pt by rename; every save that was closed is a version."""

    def __init__(self, directory, log_path):
        self.directory = directory
        self.log = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    @staticmethod
    def bytes_of(name, step):
        return data_of(f"{name}{step}", 100000 + step * 13)

    def run(self, stopped):
        step = 0
        try:
            while not stopped():
                step += 1
                for name in ("last.pt", "model.pt"):
                    os.write(self.log, b"B %d %s\n" % (step, name.encode()))
                    path = os.path.join(self.directory, name)
                    target = path + ".tmp" if name == "model.pt" else path
                    fd = os.open(target, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
                    data = self.bytes_of(name, step)
                    os.write(fd, data[:50000])
                    os.write(fd, data[50000:])
                    os.close(fd)
                    if name == "model.pt":
                        os.rename(target, path)
                    os.write(self.log, b"D %d %s\n" % (step, name.encode()))
        except OSError:
            pass
        return step

    @classmethod
    def check(cls, directory, log_path):
        """Every acknowledged save is a version, in order; the live file is one of the last two."""
        saves, under_way = {"last.pt": [], "model.pt": []}, {}
        with open(log_path, "r", encoding="ascii") as log:
            for line in log:
                state, step, name = line.split()
                if state == "D":
                    saves[name].append(int(step))
                    under_way.pop(name)
                else:
                    under_way[name] = int(step)
        for name, steps in saves.items():
            if not steps:
                continue
            cls.check_name(directory, name, steps, under_way.get(name))
        return sum(len(steps) for steps in saves.values())

    @classmethod
    def check_name(cls, directory, name, steps, under_way):
        base = os.path.join(directory, ".varve", "versions", name)
        numbers = sorted(entry for entry in os.listdir(base) if entry != "latest")
        found = []
        for number in numbers:
            with open(os.path.join(base, number), "rb") as file:
                found.append(file.read())
        expected = [cls.bytes_of(name, step) for step in steps]
        if found[:len(expected)] != expected or len(found) > len(expected) + 1:
            raise AssertionError(
                f"{name}: {len(found)} versions of lengths {[len(f) for f in found][-5:]}; "
                f"acknowledged {len(expected)} of lengths {[len(e) for e in expected][-5:]}")
        with open(os.path.join(directory, name), "rb") as file:
            live = file.read()
        good = [expected[-1]]
        if under_way is not None:
            whole = cls.bytes_of(name, under_way)
            good.append(whole)
            if name == "last.pt" and whole.startswith(live):
                return
        if live not in good:
            raise AssertionError(f"{name}: {len(live)} bytes are neither the last save nor the one "
                                 f"under way")
