// What the encodings of floats gain, and how fast they are, each on one core.
//
//   codec_bench ELEMENTS NEW [BASE]
//
// ELEMENTS is bytes, f16, bf16, f32 or f64; NEW and BASE are files of bare arrays. The
// files are cut into pieces of CHUNK bytes (from the environment; default 512 KiB).
// Prints the ratio and gigabytes of raw bytes per second of processor time, the best of
// several rounds.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "store/codec/codec.h"

namespace varve {
namespace {

constexpr int kRounds = 7;

std::vector<uint8_t> ReadAll(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "codec_bench: cannot read %s\n", path);
    std::exit(1);
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

ElementType Named(const std::string& name) {
  const std::vector<std::string> names{"bytes", "f16", "bf16", "f32", "f64"};
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    std::fprintf(stderr, "codec_bench: unknown elements %s\n", name.c_str());
    std::exit(1);
  }
  return static_cast<ElementType>(found - names.begin());
}

double CpuSeconds() {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

double BestSeconds(const std::function<void()>& work) {
  double best = 1e9;
  for (int i = 0; i < kRounds; ++i) {
    const double start = CpuSeconds();
    work();
    best = std::min(best, CpuSeconds() - start);
  }
  return best;
}

struct Piece {
  ByteView raw, base;
  Encoding encoding = Encoding::kRaw;
  std::vector<uint8_t> payload;
};

using EncodeOne = std::function<EncodedChunk(Encoder&, const Piece&)>;

void Measure(const char* what, std::vector<Piece>& pieces, const EncodeOne& encode) {
  Encoder encoder;
  Decoder decoder;
  size_t raw = 0, stored = 0, kinds[4] = {}, bytes_max = 0;
  for (Piece& piece : pieces) {
    const EncodedChunk encoded = encode(encoder, piece);
    piece.encoding = encoded.encoding;
    piece.payload.assign(encoded.payload.begin(), encoded.payload.end());
    raw += piece.raw.size();
    stored += piece.payload.size();
    ++kinds[static_cast<size_t>(encoded.encoding)];
    bytes_max = std::max(bytes_max, piece.raw.size());
  }
  std::vector<uint8_t> out(bytes_max);
  for (const Piece& piece : pieces) {
    const MutableBytes whole = MutableBytes(out).first(piece.raw.size());
    const Status status = decoder.Decode(piece.encoding, piece.payload, whole, piece.base);
    if (!status.ok() || !std::equal(whole.begin(), whole.end(), piece.raw.begin())) {
      std::fprintf(stderr, "codec_bench: not the same bytes: %s\n", status.ToString().c_str());
      std::exit(1);
    }
  }
  const double encoding = BestSeconds([&] {
    for (const Piece& piece : pieces) encode(encoder, piece);
  });
  const double decoding = BestSeconds([&] {
    for (const Piece& piece : pieces) {
      const MutableBytes whole = MutableBytes(out).first(piece.raw.size());
      if (!decoder.Decode(piece.encoding, piece.payload, whole, piece.base).ok()) std::exit(1);
    }
  });
  const auto gigabytes = static_cast<double>(raw) / 1e9;
  std::printf(
      "%-11s ratio %7.3f  encode %5.2f GB/s  decode %5.2f GB/s  raw %zu zstd %zu planes %zu "
      "difference %zu\n",
      what, static_cast<double>(raw) / static_cast<double>(stored), gigabytes / encoding,
      gigabytes / decoding, kinds[0], kinds[1], kinds[2], kinds[3]);
}

int Main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: codec_bench bytes|f16|bf16|f32|f64 NEW [BASE]\n");
    return 1;
  }
  const ElementType elements = Named(argv[1]);
  const std::vector<uint8_t> bytes = ReadAll(argv[2]);
  const char* chunk_text = std::getenv("CHUNK");
  const size_t chunk = chunk_text != nullptr ? std::stoul(chunk_text) : 512 << 10;
  std::vector<Piece> pieces;
  for (size_t offset = 0; offset < bytes.size(); offset += chunk) {
    pieces.push_back({ByteView(bytes).subspan(offset, std::min(chunk, bytes.size() - offset)),
                      {},
                      Encoding::kRaw,
                      {}});
  }
  Measure("bytes", pieces,
          [](Encoder& encoder, const Piece& piece) { return encoder.Encode(piece.raw); });
  Measure("alone", pieces, [elements](Encoder& encoder, const Piece& piece) {
    return encoder.Encode(piece.raw, elements);
  });
  if (argc < 4) return 0;
  const std::vector<uint8_t> base = ReadAll(argv[3]);
  if (base.size() != bytes.size()) {
    std::fprintf(stderr, "codec_bench: %s and %s are not of one size\n", argv[2], argv[3]);
    return 1;
  }
  size_t offset = 0;
  for (Piece& piece : pieces) {
    piece.base = ByteView(base).subspan(offset, piece.raw.size());
    offset += piece.raw.size();
  }
  Measure("difference", pieces, [elements](Encoder& encoder, const Piece& piece) {
    const auto encoded =
        encoder.EncodeDifference(piece.raw, piece.base, ChunkId{{1}}, elements, piece.raw.size());
    return encoded ? *encoded : encoder.Encode(piece.raw, elements);
  });
  return 0;
}

}  // namespace
}  // namespace varve

int main(int argc, char** argv) { return varve::Main(argc, argv); }
