// What a scrub found.
//
// Threads: values.
// Errors:  Decode fails with kCorrupt on bytes that Encode did not write.
// Memory:  at most kPlaceBytesMax of sentences and kFileBytesMax of paths; what does not
//          fit is only counted.
// Format:  docs/SEMANTICS.md, "Scrubbing"; the row: docs/FORMAT.md, "Index".
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/base/result.h"

namespace varve {

struct ScrubReport {
  // As JSON; together they fit into the value of an attribute.
  static constexpr size_t kPlaceBytesMax = 12 << 10;
  static constexpr size_t kFileBytesMax = 40 << 10;

  uint64_t ended_s = 0;  // wall clock; 0: there was none
  uint64_t seconds = 0;
  uint64_t packs = 0;
  uint64_t chunks = 0;  // that are what their names say
  uint64_t bytes = 0;   // that were read
  // Of packs: no intact record, a journal, a table, a whole pack. Those that a repair has
  // noted as known are counted apart.
  uint64_t damaged_places = 0;
  uint64_t known_places = 0;
  uint64_t damaged_chunks = 0;  // that the index names
  uint64_t damaged_files = 0;   // names of files and versions that need those chunks
  std::string error;            // "" when it came to its end
  std::vector<std::string> places;
  std::vector<std::string> files;

  bool clean() const { return damaged_places == 0 && damaged_chunks == 0; }
  void AddPlace(std::string sentence);
  void AddFile(std::string path);

  // The numbers, by the names that they have in JSON.
  using Counts = std::array<std::pair<const char*, uint64_t>, 9>;
  Counts counts() const;

  std::string Encode() const;
  static Result<ScrubReport> Decode(std::string_view bytes);

 private:
  size_t place_bytes_ = 0;
  size_t file_bytes_ = 0;
};

// One JSON object; a name need not be UTF-8, and what is not becomes U+FFFD.
std::string ScrubReportJson(const ScrubReport& report);

}  // namespace varve
