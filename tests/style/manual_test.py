"""The manual pages know what the program knows, and nothing else; and they are sound.

What the program knows is what its --help says: for mount options, the same table is parsed and shown. In the pages
every option and every value of a list is a ".It", which is what is compared.

Environment: VARVE, the program; default: build/release/varve of this source tree.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

SOURCE_DIR = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("VARVE") or str(SOURCE_DIR / "build/release/varve")
MAN = SOURCE_DIR / "docs/man"
HELP = {"-h", "--help"}  # told once for all commands


def program(*args):
    return subprocess.run([PROGRAM, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                          check=False)


def help_of(*command):
    done = program(*command, "--help")
    if done.returncode != 0:
        raise AssertionError(f"varve {' '.join(command)} --help: {done.returncode}: {done.stderr}")
    return done.stdout


def block(text, title):
    """The indented lines below a line that begins with `title`."""
    lines = text.splitlines()
    at = next((i for i, line in enumerate(lines) if line.startswith(title)), None)
    if at is None:
        return []
    end = next((i for i in range(at + 1, len(lines)) if not lines[i].startswith("  ")), len(lines))
    return lines[at + 1:end]


def first_words(lines):
    # Continued descriptions are indented further.
    return [m[1] for m in (re.match(r"  (\S+)", line) for line in lines) if m]


def options_in_help(text):
    return {name for word in first_words(block(text, "Options:")) for name in word.split(",")}


def positionals_in_help(text):
    return set(first_words(block(text, "Positionals:")))


def subcommands():
    return first_words(block(help_of(), "Subcommands:"))


def mount_options_in_help():
    text = help_of("mount")
    own = first_words(block(text, "Options for -o"))
    listed = " ".join(block(text, "As in mount(8)") + block(text, "Taken and without effect"))
    return own + listed.split()


class Page:
    """The source of a page, in mdoc(7)."""

    def __init__(self, path):
        self.lines = path.read_text(encoding="utf-8").splitlines()

    def section(self, title, macro=".Sh"):
        """The lines of a section, without those of the sections below it if it is a subsection."""
        at = self.lines.index(f"{macro} {title}")
        ends = (".Sh ",) if macro == ".Sh" else (".Sh ", ".Ss ")
        end = next((i for i in range(at + 1, len(self.lines)) if self.lines[i].startswith(ends)), len(self.lines))
        return self.lines[at + 1:end]

    def subsections(self, title):
        return [line.removeprefix(".Ss ") for line in self.section(title) if line.startswith(".Ss ")]

    @staticmethod
    def options(lines):
        """{"-o", "--options"} of ".It Fl o , Fl -options Ar OPTIONS"."""
        found = set()
        for line in lines:
            if line.startswith(".It Fl "):
                found |= {"-" + name for name in re.findall(r"Fl (-?[\w-]+)", line)}
        return found

    def mount_options(self):
        """["hot=SIZE", "ro", "rw"] of ".It Cm hot Ns = Ns Ar SIZE" and of ".It", ".Cm ro , rw"."""
        found = []
        lines = self.section("MOUNT OPTIONS")
        for before, line in zip([""] + lines, lines):
            text = line.removeprefix(".It Cm ") if line.startswith(".It Cm ") else None
            if before == ".It":
                text = line.removeprefix(".Cm ")
            if text is not None:
                found += text.replace(" Ns = Ns Ar ", "=").split(" , ")
        return found

    def exit_codes(self):
        return {int(line.removeprefix(".It ")) for line in self.section("EXIT STATUS") if line.startswith(".It ")}


class VarvePage(unittest.TestCase):
    page = Page(MAN / "varve.1")

    def test_has_all_subcommands(self):
        self.assertTrue(subcommands())
        self.assertEqual(self.page.subsections("COMMANDS"), subcommands())

    def test_has_the_options_of_the_program(self):
        self.assertEqual(self.page.options(self.page.section("DESCRIPTION")), options_in_help(help_of()))

    def test_has_the_options_of_each_subcommand(self):
        for command in subcommands():
            with self.subTest(command):
                options = options_in_help(help_of(command))
                self.assertTrue(options)
                self.assertEqual(self.page.options(self.page.section(command, ".Ss")), options - HELP)

    def test_the_synopsis_has_the_options_and_operands_of_each_subcommand(self):
        usages = "\n".join(self.page.section("SYNOPSIS")).split(".Nm varve\n.Cm ")[1:]
        self.assertEqual([usage.split()[0] for usage in usages], subcommands())
        for usage in usages:
            command = usage.split()[0]
            with self.subTest(command):
                text = help_of(command)
                self.assertLessEqual(positionals_in_help(text), set(re.findall(r"Ar (\w+)", usage)))
                shown = {"-" + name for name in re.findall(r"Fl (-?[\w-]+)", usage)}
                # One name of each option is enough.
                for word in first_words(block(text, "Options:")):
                    names = set(word.split(","))
                    self.assertTrue(names & shown or names == HELP, f"{word} of {command}")
                    shown -= names
                self.assertEqual(shown, set())

    def test_has_all_exit_codes(self):
        header = (SOURCE_DIR / "fs/cli/exit_code.h").read_text(encoding="utf-8")
        self.assertEqual(self.page.exit_codes(), {int(n) for n in re.findall(r"k\w+ = (\d+),", header)})


class MountOptions(unittest.TestCase):
    def test_both_pages_have_those_of_the_program(self):
        known = mount_options_in_help()
        self.assertGreater(len(known), 40)
        for name in ("varve.1", "mount.varvefs.8"):
            with self.subTest(name):
                self.assertEqual(sorted(Page(MAN / name).mount_options()), sorted(known))

    def test_the_program_takes_them(self):
        values = {"hot": "2G", "log": "/dev/null", "threads": "3", "timeout": "1", "quiet": "2",
                  "on_full": "fail"}
        for option in mount_options_in_help():
            name, equals, _ = option.partition("=")
            option = name + equals + values.get(name, "x") if equals else option.replace("...", "x")
            # What comes after it is refused: it was not.
            done = program("mount", "-o", option + ",no_such_option", "/none/store", "/none/mount")
            with self.subTest(option):
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("-o no_such_option: ", done.stderr)


class MountHelperPage(unittest.TestCase):
    def test_has_the_options_that_mount_passes(self):
        source = (SOURCE_DIR / "fs/cli/mount_command.cc").read_text(encoding="utf-8")
        letters = re.search(r'getopt\(.*"-([\w:]+)"', source)[1].replace(":", "")
        page = Page(MAN / "mount.varvefs.8")
        self.assertEqual(page.options(page.section("DESCRIPTION")), {"-" + letter for letter in letters})


class Rendering(unittest.TestCase):
    def test_without_a_warning(self):
        if shutil.which("groff") is None:
            self.skipTest("there is no groff")
        for page in sorted(MAN.glob("*.[1-8]")):
            if page.read_text(encoding="utf-8").startswith(".so "):
                continue
            done = subprocess.run(["groff", "-mandoc", "-Tutf8", "-ww", str(page)], capture_output=True, text=True,
                                  timeout=30, check=False)
            with self.subTest(page.name):
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("DESCRIPTION", re.sub(r"\x1b\[[\d;]*m|.\x08", "", done.stdout))


if __name__ == "__main__":
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"there is no program {PROGRAM}; build it or set VARVE")
    unittest.main()
