// A file of recorded cases (cases.json): what was recorded, in which files, and how far a faithful
// implementation may differ. Format: README.md of the recorded data. The tensors themselves are
// read through recorded.h when a case runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom::verify {

enum class CaseKind { kPrefill, kDecode, kGreedy, kTrace };
// "prefill", "decode", "greedy", "trace".
const char* Name(CaseKind kind);

struct CaseSpec {
  std::string name;
  std::string file;  // path, the folder of the case file included
  CaseKind kind = CaseKind::kPrefill;
  std::optional<int64_t> prompt_len;
  std::optional<int64_t> end;         // decode
  std::optional<int64_t> robust_len;  // greedy
};

// Level 3: limits of a case's statistics.
struct Tolerance {
  double mean = 0;
  double p99 = 0;
  double top1_agree = 1;
};

struct CaseFile {
  std::vector<CaseSpec> cases;
  std::optional<Tolerance> logits;
  std::optional<Tolerance> mtp;
  std::optional<double> pure_logits_max;  // level 1
  std::optional<double> pure_mtp_max;
};

// `where` names the text in messages; case files are looked for in `dir`.
Result<CaseFile> ParseCases(std::string_view json, const std::string& dir,
                            const std::string& where);
Result<CaseFile> LoadCases(const std::string& path);

}  // namespace fathom::verify
