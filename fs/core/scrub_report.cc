#include "fs/core/scrub_report.h"

#include <nlohmann/json.hpp>

#include "store/base/bytes.h"

namespace varve {
namespace {

constexpr uint8_t kLayout = 1;

void PutTexts(ByteWriter* out, const std::vector<std::string>& texts) {
  out->Varint(texts.size());
  for (const std::string& text : texts) out->Text(text);
}

// At most.
size_t JsonBytes(std::string_view text) {
  constexpr size_t kQuotes = 4, kEscaped = 6, kReplaced = 3;
  size_t bytes = kQuotes;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    bytes += byte < 0x20 || c == '"' || c == '\\' ? kEscaped : byte >= 0x7f ? kReplaced : 1;
  }
  return bytes;
}

}  // namespace

void ScrubReport::AddPlace(std::string sentence) {
  ++damaged_places;
  place_bytes_ += JsonBytes(sentence);
  if (place_bytes_ <= kPlaceBytesMax) places.push_back(std::move(sentence));
}

void ScrubReport::AddFile(std::string path) {
  ++damaged_files;
  file_bytes_ += JsonBytes(path);
  if (file_bytes_ <= kFileBytesMax) files.push_back(std::move(path));
}

ScrubReport::Counts ScrubReport::counts() const {
  return {{{"ended_seconds", ended_s},
           {"seconds", seconds},
           {"packs", packs},
           {"chunks", chunks},
           {"bytes", bytes},
           {"damaged_places", damaged_places},
           {"known_places", known_places},
           {"damaged_chunks", damaged_chunks},
           {"damaged_files", damaged_files}}};
}

std::string ScrubReport::Encode() const {
  std::string row;
  ByteWriter out(&row);
  out.U8(kLayout);
  for (const auto& [name, number] : counts()) out.Varint(number);
  out.Text(error);
  PutTexts(&out, places);
  PutTexts(&out, files);
  return row;
}

Result<ScrubReport> ScrubReport::Decode(std::string_view bytes) {
  const Status corrupt(Code::kCorrupt, "not the report of a scrub");
  ByteReader in(bytes);
  if (in.U8() != kLayout) return corrupt;
  ScrubReport report;
  for (uint64_t* number : {&report.ended_s, &report.seconds, &report.packs, &report.chunks,
                           &report.bytes, &report.damaged_places, &report.known_places,
                           &report.damaged_chunks, &report.damaged_files})
    *number = in.Varint();
  report.error = in.Text();
  for (std::vector<std::string>* texts : {&report.places, &report.files}) {
    for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) texts->emplace_back(in.Text());
  }
  if (!in.Done()) return corrupt;
  return report;
}

std::string ScrubReportJson(const ScrubReport& report) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, number] : report.counts()) json[name] = number;
  json["clean"] = report.clean();
  json["error"] = report.error;
  json["places"] = report.places;
  json["files"] = report.files;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace varve
