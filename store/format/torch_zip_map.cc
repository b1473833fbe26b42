// The tensors of what torch.save writes: found by walking its pickle, never by running it.
//
// A tensor is a call of torch._utils._rebuild_tensor_v2 with a storage, an offset, a shape and
// strides; the storage's bytes are the entry FOLDER/data/KEY of the zip.
//
// Source: https://pytorch.org/docs/stable/notes/serialization.html
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/format/map_builder.h"
#include "store/format/pickle.h"
#include "store/format/tensor_map.h"
#include "store/format/torch_zip.h"
#include "store/format/zip.h"

namespace varve {
namespace {

constexpr uint64_t kPickleBytesMax = 16u << 20;
constexpr unsigned kDepthMax = 64;
// Values that are reached in many ways are visited as often.
constexpr size_t kVisitsMax = 4u << 20;

struct NamedType {
  std::string_view storage;  // the class of a typed storage
  std::string_view dtype;    // of torch
  DType type;
};
constexpr NamedType kTypes[] = {
    {"FloatStorage", "float32", DType::kF32},
    {"BFloat16Storage", "bfloat16", DType::kBF16},
    {"HalfStorage", "float16", DType::kF16},
    {"DoubleStorage", "float64", DType::kF64},
    {"LongStorage", "int64", DType::kI64},
    {"IntStorage", "int32", DType::kI32},
    {"ShortStorage", "int16", DType::kI16},
    {"CharStorage", "int8", DType::kI8},
    {"ByteStorage", "uint8", DType::kU8},
    {"BoolStorage", "bool", DType::kBool},
    {"ComplexFloatStorage", "complex64", DType::kC64},
    {"ComplexDoubleStorage", "complex128", DType::kC128},
    {"", "float8_e4m3fn", DType::kF8E4M3},
    {"", "float8_e5m2", DType::kF8E5M2},
    {"", "uint16", DType::kU16},
    {"", "uint32", DType::kU32},
    {"", "uint64", DType::kU64},
};

class TensorWalk {
 public:
  TensorWalk(const Pickle& pickle, const ZipTable& table, std::string folder, bool big_endian,
             MapBuilder* builder)
      : pickle_(pickle),
        table_(table),
        folder_(std::move(folder)),
        big_endian_(big_endian),
        builder_(builder) {}

  void Run() { Visit(pickle_.root(), 0); }

 private:
  using Kind = Pickle::Kind;
  using Ref = Pickle::Ref;

  void Visit(Ref ref, unsigned depth) {
    if (builder_->failed()) return;
    if (depth > kDepthMax || ++visits_ > kVisitsMax)
      return builder_->Note("the values are nested too deeply");
    const Pickle::Value& value = pickle_[ref];
    if (value.kind == Kind::kDict) {
      for (size_t i = 0; i + 1 < value.children.size(); i += 2)
        VisitBelow(KeyText(value.children[i]), value.children[i + 1], depth);
    } else if (value.kind == Kind::kList || value.kind == Kind::kTuple) {
      for (size_t i = 0; i < value.children.size(); ++i)
        VisitBelow(std::to_string(i), value.children[i], depth);
    } else if (value.kind == Kind::kCall) {
      VisitCall(value, depth);
    }
  }

  void VisitBelow(const std::string& key, Ref ref, unsigned depth) {
    const Kind kind = pickle_[ref].kind;
    if (kind != Kind::kDict && kind != Kind::kList && kind != Kind::kTuple && kind != Kind::kCall) {
      ++visits_;
      return;
    }
    const size_t size = name_.size();
    if (size > 0) name_ += '.';
    name_ += key;
    Visit(ref, depth + 1);
    name_.resize(size);
  }

  std::string KeyText(Ref ref) const {
    const Pickle::Value& key = pickle_[ref];
    if (key.kind == Kind::kText) return std::string(key.text.substr(0, 4096));
    if (key.kind == Kind::kInteger) return std::to_string(key.integer);
    return "?";
  }

  void VisitCall(const Pickle::Value& call, unsigned depth) {
    const Pickle::Value& callable = pickle_[call.children[0]];
    if (callable.kind == Kind::kGlobal && callable.module == "torch._utils") {
      const std::vector<Ref>& arguments = pickle_[call.children[1]].children;
      if (callable.text.starts_with("_rebuild_tensor")) return AddTensor(arguments);
      if (callable.text.starts_with("_rebuild_parameter") && !arguments.empty())
        return Visit(arguments[0], depth + 1);
    }
    // Any other object: what was given to it.
    if (call.children.size() > 2) Visit(call.children[2], depth + 1);
  }

  // storage, offset, shape, strides, …; _v3 has a dtype as the seventh.
  void AddTensor(const std::vector<Ref>& arguments) {
    Tensor tensor;
    tensor.name = name_;
    ZipRange storage;
    const bool found = arguments.size() >= 4 && FindStorage(arguments[0], &tensor, &storage);
    if (arguments.size() > 6) SetType(pickle_[arguments[6]], &tensor);
    const uint64_t element = ElementBytes(tensor.dtype);
    uint64_t offset = 0;
    if (!found || element == 0 || !Number(arguments[1], &offset) ||
        !Numbers(arguments[2], &tensor.shape) || !Numbers(arguments[3], &tensor.strides) ||
        tensor.strides.size() != tensor.shape.size())
      return Skip("has no storage of a known kind");
    const std::optional<uint64_t> span = Span(tensor);
    uint64_t size = 0;
    if (!span || __builtin_mul_overflow(offset, element, &offset) ||
        __builtin_mul_overflow(*span, element, &size) ||
        offset > storage.end_bytes - storage.begin_bytes ||
        size > storage.end_bytes - storage.begin_bytes - offset)
      return Skip("lies outside of its storage");
    if (IsContiguous(tensor.shape, tensor.strides) || size == 0) tensor.strides.clear();
    tensor.big_endian = big_endian_;
    tensor.begin_bytes = storage.begin_bytes + offset;
    tensor.end_bytes = tensor.begin_bytes + size;
    builder_->Add(std::move(tensor));
  }

  static std::optional<uint64_t> Span(const Tensor& tensor) {
    const std::optional<uint64_t> count = ElementCount(tensor.shape);
    return count == 0 ? count : SpanOf(tensor.shape, tensor.strides);
  }

  void Skip(const char* why) { builder_->Note("tensor \"" + name_.substr(0, 256) + "\" " + why); }

  // Of ('storage', class, key, location, elements); sets the type that the class has.
  bool FindStorage(Ref ref, Tensor* tensor, ZipRange* range) const {
    const Pickle::Value& persistent = pickle_[ref];
    if (persistent.kind != Kind::kPersistent) return false;
    const std::vector<Ref>& id = pickle_[persistent.children[0]].children;
    if (id.size() < 4 || pickle_[id[0]].text != "storage") return false;
    const std::string_view storage = pickle_[id[1]].text;
    for (const NamedType& known : kTypes) {
      if (!known.storage.empty() && known.storage == storage) tensor->dtype = known.type;
    }
    const std::optional<ZipRange> entry =
        table_.Find(folder_ + "/data/" + std::string(pickle_[id[2]].text.substr(0, 64)));
    if (entry) *range = *entry;
    return entry.has_value();
  }

  // The global torch.float32, as a dtype is pickled.
  static void SetType(const Pickle::Value& dtype, Tensor* tensor) {
    for (const NamedType& known : kTypes) {
      if (dtype.kind == Kind::kGlobal && dtype.module == "torch" && dtype.text == known.dtype)
        tensor->dtype = known.type;
    }
  }

  bool Number(Ref ref, uint64_t* number) const {
    const Pickle::Value& value = pickle_[ref];
    if (value.kind != Kind::kInteger || value.integer < 0) return false;
    *number = static_cast<uint64_t>(value.integer);
    return true;
  }

  // A tuple, or torch.Size of one.
  bool Numbers(Ref ref, std::vector<uint64_t>* numbers) const {
    const Pickle::Value* value = &pickle_[ref];
    if (value->kind == Kind::kCall) {
      const Pickle::Value& arguments = pickle_[value->children[1]];
      if (arguments.children.size() != 1) return false;
      value = &pickle_[arguments.children[0]];
    }
    if (value->kind != Kind::kTuple || value->children.size() > kTensorAxesMax) return false;
    for (const Ref axis : value->children) {
      uint64_t number = 0;
      if (!Number(axis, &number)) return false;
      numbers->push_back(number);
    }
    return true;
  }

  const Pickle& pickle_;
  const ZipTable& table_;
  const std::string folder_;
  const bool big_endian_;
  MapBuilder* const builder_;
  std::string name_;
  size_t visits_ = 0;
};

// A whole stored entry of at most `bytes_max` bytes.
Result<std::string> ReadEntry(ByteSource& source, const ZipRange& range, uint64_t bytes_max) {
  std::string bytes(static_cast<size_t>(std::min(range.end_bytes - range.begin_bytes, bytes_max)),
                    '\0');
  ASSIGN_OR_RETURN(
      const size_t got,
      source.ReadAt(range.begin_bytes, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}));
  bytes.resize(got);
  return bytes;
}

// FOLDER of FOLDER/data.pkl; empty when there is none.
std::string FolderOf(const ZipTable& table) {
  for (const ZipTable::Row& row : table.rows()) {
    const std::string_view name = table.Name(row);
    if (row.stored && BelowZipFolder(name) == "data.pkl")
      return std::string(name.substr(0, name.find('/')));
  }
  return "";
}

}  // namespace

Result<std::optional<TensorMap>> ReadTorchZipMap(ByteSource& source) {
  ASSIGN_OR_RETURN(const std::optional<Completeness> known, CheckTorchZip(source));
  if (!known) return std::optional<TensorMap>();
  MapBuilder builder(ContentFormat::kTorchZip, source.size_bytes());
  const auto finish = [&](std::string problem) {
    if (!problem.empty()) builder.Fail(std::move(problem));
    return std::optional<TensorMap>(builder.Finish());
  };
  if (!known->complete) return finish(known->reason);
  ASSIGN_OR_RETURN(const std::optional<ZipDirectory> directory, FindZipDirectory(source));
  if (!directory) return finish("the directory at the end of the zip is missing");
  ASSIGN_OR_RETURN(const ZipTable table, ZipTable::Read(source, *directory));
  if (!table.problem().empty()) return finish(table.problem());
  const std::string folder = FolderOf(table);
  const std::optional<ZipRange> entry = table.Find(folder + "/data.pkl");
  if (folder.empty() || !entry) return finish("there is no stored data.pkl");
  if (entry->end_bytes - entry->begin_bytes > kPickleBytesMax)
    return finish("data.pkl has more than 16 MiB");
  ASSIGN_OR_RETURN(const std::string bytes, ReadEntry(source, *entry, kPickleBytesMax));
  bool big_endian = false;
  if (const std::optional<ZipRange> order = table.Find(folder + "/byteorder")) {
    ASSIGN_OR_RETURN(const std::string text, ReadEntry(source, *order, 8));
    big_endian = text == "big";
  }
  const Result<Pickle> pickle = Pickle::Parse(AsBytes(bytes));
  if (!pickle.ok()) return finish("data.pkl: " + std::string(pickle.status().context()));
  TensorWalk(*pickle, table, folder, big_endian, &builder).Run();
  return finish("");
}

}  // namespace varve
