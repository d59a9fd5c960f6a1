// Requests as the daemon reads them. Input: u16 the call's number on the wire, then the payload.
// What is taken as a request encodes to the same bytes, stands for no more memory than it says, and can be answered.
#include "tests/calls/describe.h"
#include "tests/calls/fill.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cmkd;
  std::uint16_t number = 0;
  if (size < sizeof number) return 0;
  std::memcpy(&number, data, sizeof number);
  const spec::CallId id = spec::FromWireId(number);
  const auto call = id == spec::CallId::kCount ? nullptr : tests::MakeCall(id);
  if (call == nullptr) return 0;
  const ByteView payload(data + sizeof number, size - sizeof number);
  wire::Reader r(payload);
  wire::Arena arena;
  const CK_RV rv = call->Decode(r, arena);
  FUZZ_CHECK(arena.size() <= limits::kTemplateAttributesMax * limits::kAttributeBytesMax + 64 * size);
  if (rv != CKR_OK) return 0;
  wire::Buffer again;
  wire::Writer w(again);
  call->Encode(w);
  FUZZ_CHECK(Equal(again.view(), payload));
  if (call->Check() != CKR_OK) return 0;
  tests::ResultFiller results(size, CKR_OK);
  call->Visit(results);
  wire::Buffer response;
  wire::Writer answer(response);
  call->EncodeResults(answer, CKR_OK);
  const std::string before = tests::DescribeResults(*call, CKR_OK);
  wire::Reader back(response.view());
  FUZZ_CHECK(call->DecodeResults(back, CKR_OK) && back.AtEnd());
  FUZZ_CHECK(tests::DescribeResults(*call, CKR_OK) == before);
  return 0;
}
