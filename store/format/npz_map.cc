// numpy.savez: a zip with one .npy file for each array.
//
// Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#include <string_view>
#include <utility>

#include "store/format/map_builder.h"
#include "store/format/npy.h"
#include "store/format/tensor_map.h"
#include "store/format/zip.h"

namespace varve {
namespace {

constexpr std::string_view kSuffix = ".npy";

// The array of one entry; notes why there is none.
Status AddMember(ByteSource& source, const ZipTable& table, const ZipTable::Row& row,
                 MapBuilder* builder) {
  const std::string_view file = table.Name(row);
  if (!file.ends_with(kSuffix)) return {};
  const std::string name(file.substr(0, file.size() - kSuffix.size()));
  if (!row.stored) {
    builder->Note("array \"" + name + "\" is compressed");
    return {};
  }
  SliceSource member(source, row.begin_bytes, row.end_bytes);
  ASSIGN_OR_RETURN(NpyArray array, ReadNpy(member));
  if (!array.recognised || !array.problem.empty()) {
    builder->Note("array \"" + name +
                  "\": " + (array.recognised ? array.problem : std::string("it is no .npy file")));
    return {};
  }
  array.tensor.name = name;
  array.tensor.begin_bytes += row.begin_bytes;
  array.tensor.end_bytes += row.begin_bytes;
  builder->Add(std::move(array.tensor));
  return {};
}

}  // namespace

Result<std::optional<TensorMap>> ReadNpzMap(ByteSource& source) {
  using Recognised = std::optional<TensorMap>;
  ASSIGN_OR_RETURN(const std::optional<std::string> first, FirstZipName(source));
  if (!first || !first->ends_with(kSuffix)) return Recognised();
  MapBuilder builder(ContentFormat::kNpz, source.size_bytes());
  ASSIGN_OR_RETURN(const std::optional<ZipDirectory> directory, FindZipDirectory(source));
  if (!directory) {
    builder.Fail("the directory at the end of the zip is missing");
    return Recognised(builder.Finish());
  }
  ASSIGN_OR_RETURN(const ZipTable table, ZipTable::Read(source, *directory));
  if (!table.problem().empty()) builder.Fail(table.problem());
  for (const ZipTable::Row& row : table.rows()) {
    RETURN_IF_ERROR(AddMember(source, table, row, &builder));
    if (builder.failed()) break;
  }
  return Recognised(builder.Finish());
}

}  // namespace varve
