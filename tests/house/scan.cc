// Two passes: one removes what is not code, one follows the braces of what remains. At namespace
// and class level the words since the last `;`, `{` or `}` are the head of the next block and tell
// what kind of block it is.
#include "tests/house/scan.h"

#include <cctype>
#include <regex>

namespace fathom::house {
namespace {

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// The position after the comment, string or character literal that starts at `i`; `i` if none does.
size_t EndOfQuiet(std::string_view text, size_t i) {
  const auto after = [&](size_t found, size_t length) {
    return found == std::string_view::npos ? text.size() : found + length;
  };
  if (text.substr(i, 2) == "//") return after(text.find('\n', i), 0);
  if (text.substr(i, 2) == "/*") return after(text.find("*/", i + 2), 2);
  if (text.substr(i, 2) == "R\"" && (i == 0 || !IsWord(text[i - 1]))) {
    const size_t open = text.find('(', i);
    if (open == std::string_view::npos) return text.size();
    const std::string close = ")" + std::string(text.substr(i + 2, open - i - 2)) + "\"";
    return after(text.find(close, open), close.size());
  }
  // An apostrophe after a digit separates digits.
  const bool literal = text[i] == '"' || (text[i] == '\'' && (i == 0 || !IsWord(text[i - 1])));
  if (!literal) return i;
  size_t end = i + 1;
  while (end < text.size() && text[end] != text[i] && text[end] != '\n') {
    end += text[end] == '\\' ? 2 : 1;
  }
  return std::min(end + 1, text.size());
}

enum class Block { kTransparent, kFunction, kData };

// The head without templates' parameters and attributes, whose words and parentheses mislead.
std::string Simplify(std::string head) {
  static const std::regex attribute(
      R"(__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)|\[\[[^\]]*\]\]|alignas\s*\([^()]*\))");
  head = std::regex_replace(head, attribute, " ");
  static const std::regex spaces(R"(\s+)");
  head = std::regex_replace(head, spaces, " ");
  head.erase(0, head.find_first_not_of(' '));
  while (head.starts_with("template")) {
    size_t i = head.find('<');
    if (i == std::string::npos) break;
    int depth = 0;
    do {
      if (head[i] == '<') ++depth;
      if (head[i] == '>') --depth;
      ++i;
    } while (depth > 0 && i < head.size());
    head.erase(0, head.find_first_not_of(' ', i));
  }
  return head;
}

Block Classify(const std::string& head) {
  static const std::regex type(R"(\b(namespace|class|struct|union)\b)");
  static const std::regex constructor(R"(\)\s*(noexcept\s*)?:[^:])");
  static const std::regex qualifier(R"(\b(const|noexcept|override|final|mutable)\s*$)");
  const size_t paren = head.find('(');
  const std::string before = head.substr(0, paren);
  if (std::regex_search(before, std::regex(R"(\benum\b)"))) return Block::kData;
  if (std::regex_search(before, type)) return Block::kTransparent;
  if (paren == std::string::npos) {
    return head.starts_with("extern \"") ? Block::kTransparent : Block::kData;
  }
  if (before.find('=') != std::string::npos && before.find("operator") == std::string::npos) {
    return Block::kData;
  }
  // A member initialised with braces is not the constructor's body yet.
  const size_t last = head.find_last_not_of(' ');
  if (std::regex_search(head, constructor) && (IsWord(head[last]) || head[last] == '>') &&
      !std::regex_search(head, qualifier)) {
    return Block::kData;
  }
  return Block::kFunction;
}

std::string NameOf(const std::string& head) {
  static const std::regex test(R"(^(?:TYPED_)?TEST(?:_F|_P)? ?\( ?(\w+) ?, ?(\w+))");
  std::smatch match;
  if (std::regex_search(head, match, test)) return match[1].str() + "." + match[2].str();
  static const std::regex name(R"(((?:operator ?[^\s\w(]+(?:\(\))?)|[\w:~]+) ?\()");
  return std::regex_search(head, match, name) ? match[1].str() : head;
}

// Walks the braces of blanked text, character by character.
class Walker {
 public:
  void Take(char c) {
    if (c == '\n') ++line_;
    if (inner_ > 0) {
      TakeInside(c);
      return;
    }
    if (c == '(') ++parens_;
    if (c == ')') --parens_;
    if (c == '{') {
      Open();
    } else if (c == '}' || (c == ';' && parens_ == 0)) {
      head_.clear();
    } else if (c == ':' && (head_ == "public" || head_ == "private" || head_ == "protected")) {
      head_.clear();
    } else if (!head_.empty() || !std::isspace(static_cast<unsigned char>(c))) {
      if (head_.empty()) head_line_ = line_;
      head_ += c;
    }
  }

  std::vector<Function> functions;

 private:
  void Open() {
    const std::string head = Simplify(head_);
    block_ = parens_ > 0 ? Block::kData : Classify(head);
    if (block_ == Block::kTransparent) {
      head_.clear();
      return;
    }
    inner_ = 1;
    if (block_ == Block::kFunction) functions.push_back({NameOf(head), head_line_, 0});
  }

  void TakeInside(char c) {
    if (c == '{') ++inner_;
    if (c == '}') --inner_;
    if (inner_ > 0) return;
    // After data the head goes on: `: a_{1}, b_{2} {` and `= {} ) {`.
    if (block_ == Block::kFunction) {
      functions.back().lines = line_ - functions.back().line + 1;
      head_.clear();
    } else {
      head_ += ' ';
    }
  }

  std::string head_;
  int head_line_ = 1;
  int line_ = 1;
  int parens_ = 0;
  int inner_ = 0;  // braces open inside the current function or data
  Block block_ = Block::kData;
};

}  // namespace

std::string BlankComments(std::string_view text) {
  std::string out(text);
  for (size_t i = 0; i < text.size();) {
    const size_t end = EndOfQuiet(text, i);
    if (end == i) {
      ++i;
      continue;
    }
    const bool quoted = text[i] == '"' || text[i] == '\'';
    const size_t margin = quoted && end - i >= 2 ? 1 : 0;  // the quotes of a literal stay
    for (size_t k = i + margin; k < end - margin; ++k) {
      if (out[k] != '\n') out[k] = ' ';
    }
    i = end;
  }
  return out;
}

std::vector<Function> FindFunctions(std::string_view text) {
  const std::string code = BlankComments(text);
  Walker walker;
  bool directive = false;
  for (const std::string_view line : SplitLines(code)) {
    const size_t first = line.find_first_not_of(' ');
    directive = directive || (first != std::string_view::npos && line[first] == '#');
    if (!directive) {
      for (const char c : line) walker.Take(c);
    }
    directive = directive && line.ends_with('\\');
    walker.Take('\n');
  }
  return walker.functions;
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

}  // namespace fathom::house
