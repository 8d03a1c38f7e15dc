// Files of recorded cases, one JSON object a line: what `fathom tokenize`, `encode` and `parse` do
// with each record differs, reading them and giving the verdict does not.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/types.h"

namespace fathom::cli {

// A whole file, or standard input for "-".
Result<std::string> ReadFileOrInput(const std::string& path);

// What became of one record.
struct RecordOutcome {
  Json found = Json::Object{};  // the results by name
  bool is_compared = false;     // the record says what to expect
  std::vector<std::string> differences;

  // Adds a result, compared where the record has a member of that name.
  void Add(const Json& record, std::string_view name, Json value);
};

// Token ids as a list of numbers.
Json IdsJson(std::span<const TokenId> ids);

// Runs every record of the file (read in Python's dialect of JSON), prints one line for each and
// "N of M match" at the end, M counting the records that were compared. The exit status is 1 when
// one differs; a line that is no record is an error.
Result<int> RunRecords(const std::string& path, bool as_json,
                       const std::function<Result<RecordOutcome>(const Json&)>& run);

}  // namespace fathom::cli
