// The parser alone: what requests become, and that no cut of the bytes changes it. What a server
// answers to each kind of broken request is in tests/http.
#include "server/http_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr int64_t kHeaderBytesMax = 1000;
constexpr int64_t kBodyBytesMax = 100;

RequestParser NewParser() { return {kHeaderBytesMax, kBodyBytesMax}; }

HttpRequest Parse(std::string_view bytes) {
  RequestParser parser = NewParser();
  EXPECT_EQ(parser.Feed(bytes), static_cast<int64_t>(bytes.size()));
  EXPECT_TRUE(parser.is_done()) << parser.message();
  return parser.TakeRequest();
}

TEST(RequestParserTest, TellsTargetsApart) {
  const HttpRequest plain = Parse("get /a%2fb?c%20d?e#f HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(plain.method, "GET");
  EXPECT_EQ(plain.path, "/a/b");
  EXPECT_EQ(plain.query, "c%20d?e");
  const HttpRequest absolute = Parse("GET http://host:80/a?b HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(absolute.path, "/a");
  EXPECT_EQ(absolute.query, "b");
  EXPECT_EQ(Parse("GET http://host HTTP/1.1\r\nHost: h\r\n\r\n").path, "/");
  EXPECT_EQ(Parse("GET /x?u=http://host/y HTTP/1.1\r\nHost: h\r\n\r\n").path, "/x");
  EXPECT_EQ(Parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").path, "/");
}

TEST(RequestParserTest, KeepsHeadersInOrderAndTrimmed) {
  const HttpRequest request =
      Parse("GET / HTTP/1.1\r\nHOST: h\r\nX-a:1\r\nx-A: \t2 \r\nFolded: a\r\n  b\r\n\r\n");
  EXPECT_THAT(request.headers, ElementsAre(Pair("host", "h"), Pair("x-a", "1"), Pair("x-a", "2"),
                                           Pair("folded", "a b")));
  EXPECT_EQ(request.Header("x-a"), "1");
  EXPECT_EQ(request.Header("absent"), "");
}

// Two requests behind each other, fed in two pieces: the same for every cut.
TEST(RequestParserTest, EveryCutGivesTheSameRequests) {
  const std::string bytes =
      "POST /a?b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2;x=\"y\"\r\nab\r\n0a\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
      "PUT /c HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nxyz";
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    std::vector<HttpRequest> requests;
    std::string unread;
    RequestParser parser = NewParser();
    for (const std::string& piece : {bytes.substr(0, cut), bytes.substr(cut)}) {
      unread += piece;
      while (!unread.empty()) {
        unread.erase(0, static_cast<size_t>(parser.Feed(unread)));
        ASSERT_FALSE(parser.failed()) << cut << ": " << parser.message();
        if (!parser.is_done()) break;
        EXPECT_TRUE(parser.keep_alive());
        EXPECT_EQ(parser.is_http_1_0(), requests.size() == 1);
        requests.push_back(parser.TakeRequest());
        parser = NewParser();
      }
    }
    ASSERT_EQ(requests.size(), 2u) << cut;
    EXPECT_EQ(requests[0].body, "ab0123456789") << cut;
    EXPECT_EQ(requests[0].headers.size(), 2u) << cut;
    EXPECT_EQ(requests[1].path, "/c") << cut;
    EXPECT_EQ(requests[1].body, "xyz") << cut;
  }
}

// The limit counts the whole head, also of lines that were taken already.
TEST(RequestParserTest, AHeadInPiecesHasTheSameLimit) {
  RequestParser parser = NewParser();
  std::string unread = "GET / HTTP/1.1\r\nHost: h\r\n";
  auto fed = static_cast<int64_t>(unread.size());
  while (!parser.failed()) {
    unread.erase(0, static_cast<size_t>(parser.Feed(unread)));
    ASSERT_LE(fed, kHeaderBytesMax + 30);
    unread += "name: value\r\n";
    fed += 13;
  }
  EXPECT_EQ(parser.status(), 431);
  EXPECT_GT(fed, kHeaderBytesMax - 30);
  EXPECT_THAT(parser.message(), HasSubstr("1000 bytes"));
}

TEST(RequestParserTest, ABodyAtTheLimitPasses) {
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ";
  EXPECT_EQ(Parse(head + "100\r\n\r\n" + std::string(100, 'x')).body, std::string(100, 'x'));
  RequestParser parser = NewParser();
  parser.Feed(head + "101\r\n\r\n");
  EXPECT_EQ(parser.status(), 413);
}

TEST(RequestParserTest, ExpectationsCountFromHttp11On) {
  RequestParser parser = NewParser();
  parser.Feed("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n");
  EXPECT_TRUE(parser.is_head_done());
  EXPECT_TRUE(parser.expects_continue());
  parser = NewParser();
  parser.Feed("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
  EXPECT_FALSE(parser.expects_continue());
}

TEST(DecodePathTest, RefusesWhatIsNoByte) {
  std::string path;
  EXPECT_TRUE(DecodePath("/%41%c3%bC", path));
  EXPECT_EQ(path, "/Aü");
  for (const char* encoded : {"/%", "/%4", "/%4g", "/%00", "/%-1"})
    EXPECT_FALSE(DecodePath(encoded, path)) << encoded;
}

}  // namespace
}  // namespace fathom::server
