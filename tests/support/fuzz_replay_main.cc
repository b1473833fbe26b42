// main() of a fuzz target in the normal test run, where there is no libFuzzer.
//
//   NAME_fuzz [--mutations=N] [--seed=S] [FOLDER|FILE]...
//
// Replays every file, then N seeded mutations of them. What fails is printed with the way to replay
// it: a file by its path, a mutation by being written to NAME_fuzz.crash in the working directory.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Input = std::vector<uint8_t>;

constexpr size_t kInputBytesMax = 1 << 16;

// What the signal handler writes. Globals, because a handler sees nothing else.
const Input* g_current = nullptr;
std::string g_crash_file;

void Say(std::string_view text) {
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, text.data(), text.size());
}

extern "C" void DumpCurrent(int signal_number) {
  if (g_current != nullptr) {
    const int fd = open(g_crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd >= 0 && write(fd, g_current->data(), g_current->size()) >= 0) {
      Say("fuzz_replay: the failing input is in ");
      Say(g_crash_file);
      Say("; give it as the only argument to replay it\n");
    }
  }
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

void Run(const Input& input) {
  // A copy of the exact size, so that a sanitizer sees a read past the end.
  const Input copy(input.begin(), input.end());
  g_current = &input;
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
  g_current = nullptr;
}

Input ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  Input Mutate(const std::vector<Input>& seeds) {
    Input input = seeds[Below(seeds.size())];
    for (size_t steps = 1 + Below(6); steps > 0; --steps) Step(input, seeds);
    if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
    return input;
  }

 private:
  // Uniform enough, and the same on every machine; the standard distributions are not.
  size_t Below(size_t n) { return n == 0 ? 0 : static_cast<size_t>(random_() % n); }
  uint8_t Byte() { return static_cast<uint8_t>(random_()); }

  template <typename Bytes>
  static auto Position(Bytes& bytes, size_t at) {
    return bytes.begin() + static_cast<std::ptrdiff_t>(std::min(at, bytes.size()));
  }

  void Step(Input& input, const std::vector<Input>& seeds) {
    const size_t at = Below(input.size());
    switch (Below(8)) {
      case 0:  // flip one bit
        if (!input.empty()) input[at] = static_cast<uint8_t>(input[at] ^ (1U << Below(8)));
        break;
      case 1:  // set one byte
        if (!input.empty()) input[at] = Byte();
        break;
      case 2:  // cut the end off
        input.resize(at);
        break;
      case 3:  // take some bytes out
        input.erase(Position(input, at), Position(input, at + Below(16)));
        break;
      case 4: {  // put some bytes in
        const Input bytes(1 + Below(16), Byte());
        input.insert(Position(input, at), bytes.begin(), bytes.end());
        break;
      }
      case 5:
        SetInteger(input, at);
        break;
      case 6: {  // repeat a part
        const Input part(Position(input, at), Position(input, at + Below(64)));
        input.insert(Position(input, Below(input.size())), part.begin(), part.end());
        break;
      }
      default: {  // go on with another input's end
        const Input& other = seeds[Below(seeds.size())];
        input.resize(at);
        input.insert(input.end(), Position(other, Below(other.size())), other.end());
      }
    }
  }

  // Overwrites 1 to 8 bytes with a number at which decoders break.
  void SetInteger(Input& input, size_t at) {
    if (input.empty()) return;
    static constexpr uint64_t kNumbers[] = {
        0,          1,          0x7f,        0x80,          0xff,       0x7fff,     0x8000,
        0xffff,     0x7fffffff, 0x80000000,  0xffffffff,    1ULL << 32, 1ULL << 40, 1ULL << 53,
        1ULL << 62, 1ULL << 63, ~0ULL >> 1U, ~0ULL - 0xfff, ~0ULL};
    const uint64_t number = kNumbers[Below(std::size(kNumbers))];
    const size_t size = std::min(size_t{1} << Below(4), input.size() - at);
    std::memcpy(input.data() + at, &number, size);
  }

  std::mt19937_64 random_;
};

std::vector<std::filesystem::path> FilesOf(const std::string& argument) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(argument)) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argument)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
  } else if (std::filesystem::exists(argument)) {
    files.push_back(argument);
  } else {
    std::fprintf(stderr, "fuzz_replay: no corpus at %s\n", argument.c_str());
  }
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  g_crash_file = std::filesystem::path(argv[0]).filename().string() + ".crash";
  for (const int signal_number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    std::signal(signal_number, DumpCurrent);
  }

  uint64_t mutations = 0;
  uint64_t seed = 1;
  std::vector<Input> seeds;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--mutations=")) {
      mutations = std::strtoull(argument.c_str() + std::strlen("--mutations="), nullptr, 10);
    } else if (argument.starts_with("--seed=")) {
      seed = std::strtoull(argument.c_str() + std::strlen("--seed="), nullptr, 10);
    } else {
      for (const auto& file : FilesOf(argument)) {
        std::printf("replaying %s\n", file.c_str());
        std::fflush(stdout);
        seeds.push_back(ReadFile(file));
        Run(seeds.back());
      }
    }
  }
  const size_t files = seeds.size();

  seeds.emplace_back();  // the empty input
  Run(seeds.back());
  seeds.emplace_back(256, uint8_t{0});
  std::printf("%llu mutations, --seed=%llu\n", static_cast<unsigned long long>(mutations),
              static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  Mutator mutator(seed);
  for (uint64_t i = 0; i < mutations; ++i) Run(mutator.Mutate(seeds));
  std::printf("%zu files and %llu mutations passed\n", files,
              static_cast<unsigned long long>(mutations));
  return 0;
}
