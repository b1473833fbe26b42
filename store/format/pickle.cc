#include "store/format/pickle.h"

#include <bit>
#include <charconv>
#include <unordered_map>

namespace varve {

// The machine that a pickle is a program for, as far as it makes values.
class PickleMachine {
 public:
  explicit PickleMachine(ByteView bytes) : in_(AsText(bytes)) {}

  Result<Pickle> Run() {
    while (sound_ && !stopped_) Step();
    if (pickle_.values_.size() > Pickle::kValuesMax)
      return Status(Code::kInvalid, "the pickle has too many values");
    if (!sound_ || stack_.size() != 1 || !marks_.empty())
      return Status(Code::kCorrupt, "the pickle is damaged");
    pickle_.root_ = stack_.back();
    return std::move(pickle_);
  }

 private:
  using Ref = Pickle::Ref;
  using Kind = Pickle::Kind;

  // -- The program --

  std::string_view Take(uint64_t size) {
    if (size > in_.size()) {
      sound_ = false;
      return {};
    }
    const std::string_view taken = in_.substr(0, static_cast<size_t>(size));
    in_.remove_prefix(taken.size());
    return taken;
  }
  uint64_t Little(size_t size) {
    uint64_t value = 0;
    const std::string_view bytes = Take(size);
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return value;
  }
  std::string_view Line() {
    const size_t end = in_.find('\n');
    if (end == std::string_view::npos) {
      sound_ = false;
      return {};
    }
    const std::string_view line = in_.substr(0, end);
    in_.remove_prefix(end + 1);
    return line;
  }
  uint64_t LineNumber() {
    const std::string_view line = Line();
    uint64_t value = 0;
    const auto end = std::from_chars(line.data(), line.data() + line.size(), value);
    if (end.ec != std::errc() || end.ptr != line.data() + line.size()) sound_ = false;
    return value;
  }

  // -- The stack --

  Ref Make(Kind kind) {
    auto& values = pickle_.values_;
    if (values.size() > Pickle::kValuesMax) {
      sound_ = false;
      return 0;
    }
    values.emplace_back().kind = kind;
    return static_cast<Ref>(values.size() - 1);
  }
  Pickle::Value& At(Ref ref) { return pickle_.values_[ref]; }
  void Push(Ref ref) {
    if (stack_.size() > Pickle::kValuesMax) sound_ = false;
    if (sound_) stack_.push_back(ref);
  }
  void PushText(Kind kind, std::string_view text) {
    const Ref ref = Make(kind);
    if (sound_) At(ref).text = text;
    Push(ref);
  }
  void PushInteger(Kind kind, int64_t integer) {
    const Ref ref = Make(kind);
    if (sound_) At(ref).integer = integer;
    Push(ref);
  }
  void PushFloat(double number) {
    const Ref ref = Make(Kind::kFloat);
    if (sound_) At(ref).number = number;
    Push(ref);
  }
  // Little-endian two's complement, of any length.
  void PushLong(std::string_view bytes) {
    if (!sound_) return;
    if (bytes.size() > 8) return Push(Make(Kind::kOther));
    uint64_t value =
        !bytes.empty() && static_cast<uint8_t>(bytes.back()) >= 0x80 ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    PushInteger(Kind::kInteger, static_cast<int64_t>(value));
  }
  void PushDecimal(std::string_view line) {
    if (line == "00" || line == "01") return PushInteger(Kind::kBool, line[1] == '1' ? 1 : 0);
    if (line.ends_with('L')) line.remove_suffix(1);
    int64_t value = 0;
    const auto end = std::from_chars(line.data(), line.data() + line.size(), value);
    if (end.ec == std::errc::result_out_of_range) return Push(Make(Kind::kOther));
    if (end.ec != std::errc() || end.ptr != line.data() + line.size()) sound_ = false;
    PushInteger(Kind::kInteger, value);
  }
  void PushDecimalFloat(std::string_view line) {
    double value = 0;
    const auto end = std::from_chars(line.data(), line.data() + line.size(), value);
    if (end.ec != std::errc() || end.ptr != line.data() + line.size()) sound_ = false;
    PushFloat(value);
  }
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Ref Pop() {
    if (stack_.size() <= Floor()) {
      sound_ = false;
      return 0;
    }
    const Ref ref = stack_.back();
    stack_.pop_back();
    return ref;
  }
  // What lies above the last mark, which goes too.
  std::vector<Ref> PopMarked() {
    if (marks_.empty()) {
      sound_ = false;
      return {};
    }
    const auto first = stack_.begin() + static_cast<ptrdiff_t>(marks_.back());
    std::vector<Ref> refs(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return refs;
  }
  void PushWith(Kind kind, std::vector<Ref> children) {
    const Ref ref = Make(kind);
    if (sound_) At(ref).children = std::move(children);
    Push(ref);
  }
  void PushTuple(size_t size) {
    std::vector<Ref> children(size);
    for (size_t i = size; i-- > 0;) children[i] = Pop();
    PushWith(Kind::kTuple, std::move(children));
  }
  // To the list or dictionary at the top. Other objects keep nothing of what is added to them.
  void Extend(Kind kind, const std::vector<Ref>& refs) {
    if (!sound_ || stack_.size() <= Floor() || (kind == Kind::kDict && refs.size() % 2 != 0)) {
      sound_ = false;
      return;
    }
    Pickle::Value& top = At(stack_.back());
    if (top.kind == kind) top.children.insert(top.children.end(), refs.begin(), refs.end());
  }

  // -- What would be called --

  void PushGlobal(std::string_view module, std::string_view name) {
    const Ref ref = Make(Kind::kGlobal);
    if (sound_) {
      At(ref).module = module;
      At(ref).text = name;
    }
    Push(ref);
  }
  void Call(Ref callable, Ref arguments) {
    if (!sound_) return;
    if (pickle_.IsGlobal(callable, "collections", "OrderedDict")) {
      PushWith(Kind::kDict, PairsOf(arguments));
    } else if (pickle_.IsGlobal(callable, "collections", "defaultdict")) {
      PushWith(Kind::kDict, {});
    } else {
      PushWith(Kind::kCall, {callable, arguments});
    }
  }
  // Of OrderedDict([(key, value), …]), as protocol 1 has it.
  std::vector<Ref> PairsOf(Ref arguments) {
    std::vector<Ref> items;
    if (At(arguments).children.size() != 1) return items;
    for (const Ref pair : At(At(arguments).children[0]).children) {
      const std::vector<Ref>& both = At(pair).children;
      if (both.size() != 2) continue;
      // One list may be an argument often.
      if (++pairs_ > Pickle::kValuesMax) sound_ = false;
      if (!sound_) return {};
      items.insert(items.end(), both.begin(), both.end());
    }
    return items;
  }
  void CallMarked(Ref callable, std::vector<Ref> arguments) {
    const Ref tuple = Make(Kind::kTuple);
    if (!sound_) return;
    At(tuple).children = std::move(arguments);
    Call(callable, tuple);
  }
  void Build(Ref state) {
    if (!sound_ || stack_.size() <= Floor()) {
      sound_ = false;
      return;
    }
    Pickle::Value& top = At(stack_.back());
    if (top.kind == Kind::kCall && top.children.size() == 2) top.children.push_back(state);
  }

  // -- The memo --

  void Put(uint64_t place) {
    if (stack_.size() <= Floor() || memo_.size() > Pickle::kValuesMax) sound_ = false;
    if (sound_) memo_[place] = stack_.back();
  }
  void Get(uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) {
      sound_ = false;
      return;
    }
    Push(found->second);
  }

  void Step();
  void StepText(uint8_t opcode);
  void StepObject(uint8_t opcode);

  std::string_view in_;
  Pickle pickle_;
  std::vector<Ref> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Ref> memo_;
  size_t pairs_ = 0;
  bool sound_ = true;
  bool stopped_ = false;
};

// Marks, numbers, containers, the memo.
void PickleMachine::Step() {
  const auto opcode = static_cast<uint8_t>(Little(1));
  switch (opcode) {
    case 0x80:
      Take(1);
      break;  // PROTO
    case 0x95:
      Take(8);
      break;  // FRAME
    case '.':
      stopped_ = sound_;
      break;   // STOP
    case '(':  // MARK
      if (marks_.size() > Pickle::kValuesMax) sound_ = false;
      marks_.push_back(stack_.size());
      break;
    case '0':
      Pop();
      break;  // POP
    case '1':
      PopMarked();
      break;   // POP_MARK
    case '2':  // DUP
      if (const Ref top = Pop(); sound_) Push(top), Push(top);
      break;
    case 'N':
      Push(Make(Kind::kNone));
      break;
    case 0x88:
      PushInteger(Kind::kBool, 1);
      break;
    case 0x89:
      PushInteger(Kind::kBool, 0);
      break;
    case 'J':
      PushInteger(Kind::kInteger, static_cast<int32_t>(Little(4)));
      break;
    case 'K':
      PushInteger(Kind::kInteger, static_cast<int64_t>(Little(1)));
      break;
    case 'M':
      PushInteger(Kind::kInteger, static_cast<int64_t>(Little(2)));
      break;
    case 0x8a:
      PushLong(Take(Little(1)));
      break;  // LONG1
    case 0x8b:
      PushLong(Take(Little(4)));
      break;   // LONG4
    case 'I':  // INT
    case 'L':
      PushDecimal(Line());
      break;  // LONG
    case 'F':
      PushDecimalFloat(Line());
      break;  // FLOAT
    case 'G':
      PushFloat(std::bit_cast<double>(__builtin_bswap64(Little(8))));
      break;
    case ')':
      PushWith(Kind::kTuple, {});
      break;
    case 't':
      PushWith(Kind::kTuple, PopMarked());
      break;
    case 0x85:
      PushTuple(1);
      break;
    case 0x86:
      PushTuple(2);
      break;
    case 0x87:
      PushTuple(3);
      break;
    case ']':  // EMPTY_LIST
    case 0x8f:
      PushWith(Kind::kList, {});
      break;   // EMPTY_SET
    case 'l':  // LIST
    case 0x91:
      PushWith(Kind::kList, PopMarked());
      break;   // FROZENSET
    case 'a':  // APPEND
      if (const Ref item = Pop(); sound_) Extend(Kind::kList, {item});
      break;
    case 'e':  // APPENDS
    case 0x90:
      Extend(Kind::kList, PopMarked());
      break;  // ADDITEMS
    case '}':
      PushWith(Kind::kDict, {});
      break;
    case 's': {  // SETITEM
      const Ref value = Pop(), key = Pop();
      Extend(Kind::kDict, {key, value});
      break;
    }
    case 'u':
      Extend(Kind::kDict, PopMarked());
      break;     // SETITEMS
    case 'd': {  // DICT
      std::vector<Ref> items = PopMarked();
      if (items.size() % 2 != 0) sound_ = false;
      PushWith(Kind::kDict, std::move(items));
      break;
    }
    case 'p':
      Put(LineNumber());
      break;
    case 'q':
      Put(Little(1));
      break;
    case 'r':
      Put(Little(4));
      break;
    case 0x94:
      Put(memo_.size());
      break;  // MEMOIZE
    case 'g':
      Get(LineNumber());
      break;
    case 'h':
      Get(Little(1));
      break;
    case 'j':
      Get(Little(4));
      break;
    default:
      StepText(opcode);
  }
}

void PickleMachine::StepText(uint8_t opcode) {
  switch (opcode) {
    case 'S': {  // STRING, in quotes
      const std::string_view line = Line();
      if (line.size() < 2) sound_ = false;
      PushText(Kind::kText, sound_ ? line.substr(1, line.size() - 2) : line);
      break;
    }
    case 'V':
      PushText(Kind::kText, Line());
      break;   // UNICODE
    case 'T':  // BINSTRING
    case 'X':
      PushText(Kind::kText, Take(Little(4)));
      break;   // BINUNICODE
    case 'U':  // SHORT_BINSTRING
    case 0x8c:
      PushText(Kind::kText, Take(Little(1)));
      break;
    case 0x8d:
      PushText(Kind::kText, Take(Little(8)));
      break;
    case 'C':
      PushText(Kind::kBytes, Take(Little(1)));
      break;
    case 'B':
      PushText(Kind::kBytes, Take(Little(4)));
      break;
    case 0x8e:  // BINBYTES8
    case 0x96:
      PushText(Kind::kBytes, Take(Little(8)));
      break;  // BYTEARRAY8
    default:
      StepObject(opcode);
  }
}

void PickleMachine::StepObject(uint8_t opcode) {
  switch (opcode) {
    case 'c': {  // GLOBAL
      const std::string_view module = Line();
      PushGlobal(module, Line());
      break;
    }
    case 0x93: {  // STACK_GLOBAL
      const Ref name = Pop(), module = Pop();
      if (sound_) PushGlobal(At(module).text, At(name).text);
      break;
    }
    case 'P':  // PERSID
      PushText(Kind::kText, Line());
      PushWith(Kind::kPersistent, {Pop()});
      break;
    case 'Q':
      PushWith(Kind::kPersistent, {Pop()});
      break;
    case 'R':     // REDUCE
    case 0x81: {  // NEWOBJ
      const Ref arguments = Pop(), callable = Pop();
      Call(callable, arguments);
      break;
    }
    case 0x92: {  // NEWOBJ_EX
      Pop();      // keyword arguments
      const Ref arguments = Pop(), callable = Pop();
      Call(callable, arguments);
      break;
    }
    case 'b':
      Build(Pop());
      break;
    case 'i': {  // INST
      const std::string_view module = Line();
      PushGlobal(module, Line());
      const Ref callable = Pop();
      CallMarked(callable, PopMarked());
      break;
    }
    case 'o': {  // OBJ
      std::vector<Ref> refs = PopMarked();
      if (refs.empty()) {
        sound_ = false;
        break;
      }
      const Ref callable = refs.front();
      refs.erase(refs.begin());
      CallMarked(callable, std::move(refs));
      break;
    }
    default:
      sound_ = false;
  }
}

Result<Pickle> Pickle::Parse(ByteView bytes) { return PickleMachine(bytes).Run(); }

bool Pickle::IsGlobal(Ref ref, std::string_view module, std::string_view name) const {
  const Value& value = values_[ref];
  return value.kind == Kind::kGlobal && value.module == module && value.text == name;
}

}  // namespace varve
