// What the commands say to people: sentences, sizes, tables, progress.
//
// Results go to stdout, everything else to stderr. Names that users chose are
// passed through Printable(), because a terminal obeys what it is sent.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace varve {

// "varve: SENTENCE" on stderr. No full stop is added.
void PrintError(std::string_view sentence);
// The same for what is not an error.
void PrintNote(std::string_view sentence);

// "0 B", "17 KiB", "1.5 GiB".
std::string HumanSize(uint64_t bytes);
// "0.4 s", "12 s", "3 min 20 s".
std::string HumanDuration(int64_t duration_ns);
// "4096", "64K", "1.5G", "2GiB"; the units are powers of 1024.
Result<uint64_t> ParseSize(std::string_view text);
// Control characters as \n, \t, \x1b; the rest as it is.
std::string Printable(std::string_view text);

// Columns as wide as their widest cell; the header is the first row.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // REQUIRES: as many cells as columns.
  void AddRow(std::vector<std::string> cells);
  std::string Render() const;

 private:
  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// A bar on stderr for what takes more than two seconds. Where stderr is no
// terminal it says nothing. It vanishes with the object.
class ProgressBar {
 public:
  // `what` is the verb of the work: "draining".
  explicit ProgressBar(std::string what);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `detail` follows the bar: "3 files, 1.2 GiB left". May be called often.
  void Update(uint64_t done, uint64_t total, std::string_view detail);

 private:
  const std::string what_;
  const bool terminal_;
  const int64_t start_ns_;
  int64_t drawn_ns_ = 0;  // of the last drawing; 0: none yet
};

}  // namespace varve
