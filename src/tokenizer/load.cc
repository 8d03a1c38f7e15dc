// Reads tokenizer.json, the file format of the Hugging Face tokenizers library, as far as
// byte-level BPE needs it. Everything that would change the tokens and is not supported is refused
// by name; what only describes padding, truncation or the templates of other programs is ignored.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "tokenizer/stages/byte_level.h"
#include "tokenizer/stages/state.h"

namespace fathom::tokenizer {
namespace {

// Bytes of a tokenizer.json; the real one has 6.4 million.
constexpr int64_t kFileBytesMax = int64_t{256} << 20;
// Ids must lie below this, so that a wild id cannot demand a huge table. V4 has 129,280.
constexpr int64_t kVocabularyMax = int64_t{1} << 22;
// Bytes of an added token: bounds the work per position of a text.
constexpr size_t kAddedBytesMax = 1024;

// One token as the file tells it; tokens of the vocabulary and added ones meet here.
struct Entry {
  std::string bytes;
  uint8_t flags = 0;  // TokenTable::Flag
  // Whether text that holds no added token can become this token: true for the byte tokens and
  // what they merge to.
  bool is_reachable = false;
};

// Quoted for a message of one line, cut short, since contents may be anything.
std::string Quoted(std::string_view content) {
  return JsonString(text::DecodeLossy(content.substr(0, 80)));
}

bool IsAbsent(const Json* member) { return member == nullptr || member->is_null(); }

std::string_view TypeOf(const Json* object) {
  const Json* type = object == nullptr ? nullptr : object->Find("type");
  return type != nullptr && type->is_string() ? std::string_view(type->string())
                                              : std::string_view();
}

// A boolean member, false when absent.
Result<bool> FlagOf(const Json& object, std::string_view name) {
  const Json* member = object.Find(name);
  if (IsAbsent(member)) return false;
  if (!member->is_bool())
    return Error{fmt::format("key \"{}\": expected a boolean, found {}", name, member->KindName())};
  return member->boolean();
}

Result<TokenId> TokenIdOf(const Json& json) {
  FATHOM_TRY(const int64_t id, json.ToInt64());
  if (id < 0 || id >= kVocabularyMax)
    return Error{fmt::format("expected an id from 0 to {}, found {}", kVocabularyMax - 1, id)};
  return static_cast<TokenId>(id);
}

// Gathers the parts of one file; each Read function takes one member of it.
class Reader {
 public:
  Result<void> ReadModel(const Json* model) {
    if (TypeOf(model) != "BPE")
      return Error{fmt::format("model: expected type \"BPE\", found {}", Quoted(TypeOf(model)))};
    FATHOM_TRY_VOID(CheckModelOptions(*model));
    FATHOM_TRY_VOID(ReadVocabulary(model->Find("vocab")));
    FATHOM_TRY_VOID(ReadMerges(model->Find("merges")));
    return {};
  }

  Result<void> ReadAddedTokens(const Json* list) {
    if (IsAbsent(list)) return {};
    if (!list->is_array())
      return Error{fmt::format("added_tokens: expected an array, found {}", list->KindName())};
    for (size_t i = 0; i < list->array().size(); ++i) {
      if (auto added = ReadAddedToken(list->array()[i]); !added.ok())
        return std::move(added).error().In(fmt::format("added_tokens[{}]", i));
    }
    return {};
  }

  TokenTable MakeTable() const {
    TokenTable table;
    for (const Entry& entry : entries_) table.Append(entry.bytes, entry.flags);
    return table;
  }

  Bpe MakeBpe() { return Bpe(byte_tokens_, std::move(*merges_)); }

  std::unordered_map<std::string, TokenId> added_ids;
  AddedTokenMatcher verbatim;
  AddedTokenMatcher normalized;

 private:
  static Result<void> CheckModelOptions(const Json& model) {
    for (const char* name : {"byte_fallback", "ignore_merges"}) {
      FATHOM_TRY(const bool is_set, FlagOf(model, name));
      if (is_set) return Error{fmt::format("model: \"{}\" is not supported", name)};
    }
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json* member = model.Find(name);
      if (!IsAbsent(member) && *member != Json(""))
        return Error{fmt::format("model: \"{}\" is not supported", name)};
    }
    const Json* dropout = model.Find("dropout");
    if (IsAbsent(dropout)) return {};
    const auto rate = dropout->ToDouble();
    if (!rate.ok() || rate.value() != 0) return Error{"model: \"dropout\" is not supported"};
    return {};
  }

  // The entry of an id, with the table grown up to it.
  Entry& At(TokenId id) {
    if (id >= std::ssize(entries_)) entries_.resize(static_cast<size_t>(id) + 1);
    return entries_[static_cast<size_t>(id)];
  }

  Result<void> ReadVocabulary(const Json* vocab) {
    if (vocab == nullptr || !vocab->is_object())
      return Error{"model: expected an object \"vocab\""};
    vocabulary_.reserve(vocab->object().size());
    byte_tokens_.fill(-1);
    for (const auto& [content, json] : vocab->object()) {
      const auto id = TokenIdOf(json);
      if (!id.ok()) return Error(id.error()).In("vocab: " + Quoted(content));
      Entry& entry = At(id.value());
      if (entry.flags != 0)
        return Error{fmt::format("vocab: {}: its id {} is taken", Quoted(content), id.value())};
      // An entry outside the byte alphabet (a control token) stands for its own text.
      std::optional<std::string> bytes = BytesOfContent(content);
      if (bytes.has_value() && bytes->size() == 1) {
        byte_tokens_[static_cast<uint8_t>((*bytes)[0])] = id.value();
        entry.is_reachable = true;
      }
      entry.bytes = std::move(bytes).value_or(content);
      entry.flags = TokenTable::kPresent;
      vocabulary_.emplace(content, id.value());
    }
    for (size_t byte = 0; byte < 256; ++byte)
      if (byte_tokens_[byte] < 0)
        return Error{fmt::format("vocab: no token for byte 0x{:02x}, spelled {}", byte,
                                 Quoted(ContentOfBytes(std::string(1, static_cast<char>(byte)))))};
    return {};
  }

  // "left right", or the same as an array of two strings.
  static Result<std::pair<std::string_view, std::string_view>> MergeParts(const Json& merge) {
    if (merge.is_array() && merge.array().size() == 2 && merge.array()[0].is_string() &&
        merge.array()[1].is_string())
      return std::pair<std::string_view, std::string_view>(merge.array()[0].string(),
                                                           merge.array()[1].string());
    if (merge.is_string()) {
      const std::string_view text = merge.string();
      const size_t space = text.find(' ');
      if (space != text.npos && text.find(' ', space + 1) == text.npos)
        return std::pair(text.substr(0, space), text.substr(space + 1));
      return Error{fmt::format("expected two tokens with a space between, found {}", Quoted(text))};
    }
    return Error{fmt::format("expected a string or two strings, found {}", merge.KindName())};
  }

  Result<TokenId> VocabularyId(std::string_view content) const {
    const auto found = vocabulary_.find(content);
    if (found == vocabulary_.end())
      return Error{fmt::format("{} is not in the vocabulary", Quoted(content))};
    return found->second;
  }

  Result<void> ReadMerge(const Json& json, int32_t rank) {
    FATHOM_TRY(const auto parts, MergeParts(json));
    FATHOM_TRY(const TokenId left, VocabularyId(parts.first));
    FATHOM_TRY(const TokenId right, VocabularyId(parts.second));
    std::string content(parts.first);
    content += parts.second;
    FATHOM_TRY(const TokenId result, VocabularyId(content));
    merges_->Insert(left, right, {rank, result});
    // Conservative: the pair may be kept from meeting by earlier merges.
    At(result).is_reachable = true;
    return {};
  }

  Result<void> ReadMerges(const Json* merges) {
    if (merges == nullptr || !merges->is_array())
      return Error{"model: expected an array \"merges\""};
    const int64_t count = std::ssize(merges->array());
    if (count >= std::numeric_limits<int32_t>::max()) return Error{"merges: too many entries"};
    merges_.emplace(count);
    for (int64_t i = 0; i < count; ++i) {
      const Json& merge = merges->array()[static_cast<size_t>(i)];
      if (auto done = ReadMerge(merge, static_cast<int32_t>(i)); !done.ok())
        return std::move(done).error().In(fmt::format("merges[{}]", i));
    }
    return {};
  }

  Result<void> ReadAddedToken(const Json& json) {
    const Json* content_json = json.Find("content");
    const Json* id_json = json.Find("id");
    if (content_json == nullptr || !content_json->is_string() || id_json == nullptr)
      return Error{"expected an object with a string \"content\" and an \"id\""};
    const std::string& content = content_json->string();
    if (content.empty() || content.size() > kAddedBytesMax)
      return Error{
          fmt::format("content: expected 1 to {} bytes, found {}", kAddedBytesMax, content.size())};
    FATHOM_TRY(const TokenId id, TokenIdOf(*id_json));
    for (const char* name : {"lstrip", "rstrip", "single_word"}) {
      FATHOM_TRY(const bool is_set, FlagOf(json, name));
      if (is_set) return Error{fmt::format("{}: \"{}\" is not supported", Quoted(content), name)};
    }
    FATHOM_TRY(const bool is_special, FlagOf(json, "special"));
    FATHOM_TRY(const bool is_normalized, FlagOf(json, "normalized"));
    if (const auto known = vocabulary_.find(content);
        known != vocabulary_.end() && known->second != id)
      return Error{fmt::format("{}: expected its id in the vocabulary, {}, found {}",
                               Quoted(content), known->second, id)};
    Entry& entry = At(id);
    if (entry.flags != 0 && (entry.bytes != content || (entry.flags & TokenTable::kAdded) != 0))
      return Error{fmt::format("{}: its id {} is taken", Quoted(content), id)};
    // EncodeOptions::match_added_tokens promises that plain text never becomes an added token.
    if (entry.is_reachable)
      return Error{fmt::format("{}: expected a token that no merge produces", Quoted(content))};
    entry.bytes = content;
    entry.flags = static_cast<uint8_t>(TokenTable::kPresent | TokenTable::kAdded |
                                       (is_special ? TokenTable::kSpecial : 0));
    if (!added_ids.emplace(content, id).second)
      return Error{fmt::format("{}: appears twice", Quoted(content))};
    (is_normalized ? normalized : verbatim).Insert(content, id);
    return {};
  }

  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, TokenId> vocabulary_;  // views into the Json
  std::array<TokenId, 256> byte_tokens_;
  std::optional<MergeTable> merges_;
};

// A normalizer changes the text before it is encoded; the only ones accepted do nothing.
Result<void> CheckNormalizer(const Json* normalizer) {
  if (IsAbsent(normalizer)) return {};
  const Json* steps = normalizer->Find("normalizers");
  if (TypeOf(normalizer) == "Sequence" && steps != nullptr && steps->is_array() &&
      steps->array().empty())
    return {};
  return Error{fmt::format("normalizer: expected null or an empty Sequence, found {}",
                           Quoted(TypeOf(normalizer)))};
}

}  // namespace

Result<Tokenizer> Tokenizer::Load(const std::string& path) {
  FATHOM_TRY(const std::string json, ReadFile(path, kFileBytesMax));
  return FromJson(json, path);
}

Result<Tokenizer> Tokenizer::FromJson(std::string_view json, const std::string& where) {
  const auto read = [&]() -> Result<Tokenizer> {
    FATHOM_TRY(const Json file, ParseJson(json));
    if (!file.is_object())
      return Error{fmt::format("expected a JSON object, found {}", file.KindName())};
    FATHOM_TRY_VOID(CheckNormalizer(file.Find("normalizer")));
    const Json* pre = file.Find("pre_tokenizer");
    if (IsAbsent(pre)) return Error{"pre_tokenizer: expected a ByteLevel one, found none"};
    FATHOM_TRY(PreTokenizer pre_tokenizer, PreTokenizer::FromJson(*pre));
    if (TypeOf(file.Find("decoder")) != "ByteLevel")
      return Error{fmt::format("decoder: expected \"ByteLevel\", found {}",
                               Quoted(TypeOf(file.Find("decoder"))))};
    Reader reader;
    FATHOM_TRY_VOID(reader.ReadModel(file.Find("model")));
    FATHOM_TRY_VOID(reader.ReadAddedTokens(file.Find("added_tokens")));
    return Tokenizer(std::unique_ptr<const State>(
        new State{reader.MakeTable(), std::move(reader.added_ids), std::move(reader.verbatim),
                  std::move(reader.normalized), std::move(pre_tokenizer), reader.MakeBpe()}));
  };
  auto tokenizer = read();
  if (!tokenizer.ok()) return std::move(tokenizer).error().In(where);
  return tokenizer;
}

}  // namespace fathom::tokenizer
