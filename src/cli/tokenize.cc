// fathom tokenize: the tokenizer by itself. Text to ids, ids to text, or a file of recorded cases
// (testdata/tokenizer/README.md describes the records) to one result a line and a verdict.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/default_model.h"
#include "cli/exit_status.h"
#include "cli/records.h"
#include "text/utf8.h"
#include "tokenizer/tokenizer.h"

namespace fathom::cli {
namespace {

using tokenizer::Tokenizer;
using TokenIds = std::vector<TokenId>;

struct TokenizeOptions {
  std::string model;
  std::string tokenizer;
  std::optional<std::string> text;
  std::string file;
  std::string jsonl;
  bool decode = false;
  bool json = false;
  bool no_special_in_user_text = false;
  bool skip_special = false;
};

Result<Tokenizer> LoadTokenizer(const TokenizeOptions& options) {
  if (!options.tokenizer.empty()) return Tokenizer::Load(options.tokenizer);
  if (!options.model.empty()) return Tokenizer::Load(options.model + "/tokenizer.json");
  FATHOM_TRY(const std::string model, DefaultModelDir());
  return Tokenizer::Load(model + "/tokenizer.json");
}

Result<std::string> InputText(const TokenizeOptions& options) {
  if (options.text.has_value() && options.text != "-") return *options.text;
  return ReadFileOrInput(options.file.empty() ? "-" : options.file);
}

// Numbers between anything that is no number's part, so that a line of ids and a JSON array both
// read.
Result<TokenIds> ParseIds(std::string_view text) {
  constexpr std::string_view kSeparators = " \t\r\n,[]";
  TokenIds ids;
  for (;;) {
    const size_t begin = text.find_first_not_of(kSeparators);
    if (begin == text.npos) return ids;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kSeparators));
    TokenId id = 0;
    const auto [end, status] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (status != std::errc() || end != word.data() + word.size())
      return Error{
          fmt::format("expected token ids, found \"{}\"", text::DecodeLossy(word.substr(0, 40)))};
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
}

// An "ids" member; nothing when the record has none.
Result<std::optional<TokenIds>> RecordIds(const Json& record) {
  const Json* member = record.Find("ids");
  if (member == nullptr) return std::optional<TokenIds>();
  if (!member->is_array())
    return Error{fmt::format("key \"ids\": expected an array, found {}", member->KindName())};
  TokenIds ids;
  for (const Json& item : member->array()) {
    FATHOM_TRY(const int64_t id, item.ToInt64());
    if (id != static_cast<TokenId>(id))
      return Error{fmt::format("key \"ids\": expected token ids, found {}", id)};
    ids.push_back(static_cast<TokenId>(id));
  }
  return std::optional(std::move(ids));
}

// An error is never what a record expects.
void AddDecoded(RecordOutcome& outcome, const Json& record, std::string_view name,
                const Result<std::string>& text) {
  if (text.ok()) return outcome.Add(record, name, text.value());
  outcome.is_compared = true;
  outcome.differences.push_back(fmt::format("{}: {}", name, text.error().message));
}

Result<RecordOutcome> RunEncodeRecord(const Tokenizer& tokenizer, const Json& record,
                                      const tokenizer::EncodeOptions& options) {
  FATHOM_TRY(const std::string text, GetString(record, "text", "record"));
  FATHOM_TRY(std::optional<TokenIds> recorded, RecordIds(record));
  RecordOutcome outcome;
  const TokenIds ids = tokenizer.Encode(text, options);
  outcome.Add(record, "ids", IdsJson(ids));
  // The recorded ids, so that a mistake in encoding does not hide one in decoding.
  AddDecoded(outcome, record, "decoded", tokenizer.Decode(recorded.value_or(ids)));
  return outcome;
}

Result<RecordOutcome> RunDecodeRecord(const Tokenizer& tokenizer, const Json& record) {
  FATHOM_TRY(const std::optional<TokenIds> ids, RecordIds(record));
  if (!ids.has_value()) return Error{"record: missing key \"ids\""};
  RecordOutcome outcome;
  AddDecoded(outcome, record, "text", tokenizer.Decode(*ids));
  AddDecoded(outcome, record, "text_skip_special", tokenizer.Decode(*ids, {.skip_special = true}));
  return outcome;
}

Result<int> RunDecode(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  FATHOM_TRY(const std::string input, InputText(options));
  FATHOM_TRY(const TokenIds ids, ParseIds(input));
  FATHOM_TRY(const std::string text, tokenizer.Decode(ids, {.skip_special = options.skip_special}));
  if (options.json) {
    std::cout << WriteJson(Json::Object{{"ids", IdsJson(ids)}, {"text", text}}) << '\n';
  } else {
    std::cout << text;
  }
  return 0;
}

Result<int> RunEncode(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  FATHOM_TRY(const std::string text, InputText(options));
  if (const int64_t valid = text::ValidUtf8Prefix(text); valid != std::ssize(text))
    return Error{fmt::format("input: expected UTF-8 text, found an invalid byte at {}", valid)};
  const TokenIds ids =
      tokenizer.Encode(text, {.match_added_tokens = !options.no_special_in_user_text});
  if (!options.json) {
    std::cout << fmt::format("{}\n", fmt::join(ids, " "));
    return 0;
  }
  Json::Array tokens;
  for (const TokenId id : ids) tokens.push_back(tokenizer.TokenText(id));
  std::cout << WriteJson(Json::Object{
                   {"ids", IdsJson(ids)}, {"tokens", tokens}, {"count", std::ssize(ids)}})
            << '\n';
  return 0;
}

int RunTokenize(const TokenizeOptions& options) {
  const auto run = [&]() -> Result<int> {
    FATHOM_TRY(const Tokenizer tokenizer, LoadTokenizer(options));
    if (!options.jsonl.empty())
      return RunRecords(options.jsonl, options.json, [&](const Json& record) {
        return options.decode
                   ? RunDecodeRecord(tokenizer, record)
                   : RunEncodeRecord(tokenizer, record,
                                     {.match_added_tokens = !options.no_special_in_user_text});
      });
    return options.decode ? RunDecode(tokenizer, options) : RunEncode(tokenizer, options);
  };
  return ExitStatus("tokenize", run());
}

}  // namespace

void RegisterTokenize(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<TokenizeOptions>();  // shared with the callback below
  CLI::App* command = app.add_subcommand(
      "tokenize",
      "Turn text into token ids, or ids into text. Text is taken as it is: no BOS and no chat "
      "markup is added.");
  CLI::Option* model = command->add_option(
      "-m,--model", options->model, "Model folder with a tokenizer.json (default: bundled model)");
  command->add_option("--tokenizer", options->tokenizer, "A tokenizer.json by itself")
      ->excludes(model);
  CLI::Option* text = command->add_option(
      "text", options->text, "The text, or the ids with --decode; - or nothing: standard input");
  CLI::Option* file =
      command->add_option("-f,--file", options->file, "Read the text or ids from this file");
  file->excludes(text);
  command
      ->add_option("--jsonl", options->jsonl,
                   "Run the records of this file (-: standard input), one result a line. Records "
                   "have \"text\" and may have the expected \"ids\" and \"decoded\"; with --decode "
                   "they have \"ids\" and may have \"text\" and \"text_skip_special\". Ends with "
                   "\"N of M match\"; exit status 1 if any differs")
      ->excludes(text)
      ->excludes(file);
  command->add_flag("--decode", options->decode, "From ids (numbers, or a JSON array) to text");
  command->add_flag("--skip-special", options->skip_special,
                    "With --decode: leave out BOS, EOS, padding and other special tokens");
  command->add_flag("--no-special-in-user-text", options->no_special_in_user_text,
                    "Encode the text of control tokens as ordinary text");
  command->add_flag("--json", options->json, "Results as JSON, one object a line");
  command->footer(
      "Examples:\n"
      "  fathom tokenize 'Hello, world'\n"
      "  fathom tokenize -f README.md --json\n"
      "  fathom tokenize 'Hello' | fathom tokenize --decode\n"
      "  fathom tokenize --tokenizer testdata/tokenizer/deepseek/tokenizer.json \\\n"
      "      --jsonl testdata/tokenizer/cases.jsonl");
  command->callback([options, &exit_code] { exit_code = RunTokenize(*options); });
}

}  // namespace fathom::cli
