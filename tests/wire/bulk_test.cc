// What goes beside a frame is laid out as the codec lays it out: both sides meet in the middle of it.
#include "pkcs11/wire/bulk.h"

#include <gtest/gtest.h>

namespace cmkd::wire {
namespace {

template <spec::CallId id>
void ExpectTheSameRequest(std::size_t bytes) {
  Bytes input(bytes, 7);
  CK_BYTE output[8];
  CK_ULONG length = sizeof output;
  spec::Call<id> call;
  call.session.value = 11;
  call.input = {input.data(), input.size()};
  call.output.data = output;
  call.output.length = &length;
  Buffer whole, beside;
  Writer w(whole), b(beside);
  EncodeCall(w, call);
  const std::size_t at = EncodeRequestBeside(b, call);
  Bytes joined = ToBytes(beside.view());
  joined.insert(joined.begin() + static_cast<std::ptrdiff_t>(at), input.begin(), input.end());
  EXPECT_TRUE(Equal(joined, whole.view())) << bytes;
}

TEST(Bulk, ARequestIsTheCodecsWithTheInputPutBack) {
  for (const std::size_t bytes : {1u, 100u, 70'000u}) {
    ExpectTheSameRequest<spec::CallId::C_Encrypt>(bytes);
    ExpectTheSameRequest<spec::CallId::C_Decrypt>(bytes);
  }
}

template <spec::CallId id>
void ExpectTheSameResults(std::size_t bytes) {
  Bytes output(bytes, 9);
  CK_ULONG length = bytes;
  spec::Call<id> call;
  call.output.data = output.data();
  call.output.length = &length;
  Buffer results;
  Writer w(results);
  w.U64(CKR_OK);
  EncodeResults(w, call, CKR_OK);
  ASSERT_EQ(results.size(), OutputHead::kBytes + bytes);
  const auto head = OutputHead::Read(results.view().first(OutputHead::kBytes));
  ASSERT_TRUE(head);
  EXPECT_EQ(head->rv, CKR_OK);
  EXPECT_EQ(head->length, bytes);
  EXPECT_TRUE(Equal(results.view().subspan(OutputHead::kBytes), output));

  Buffer written;
  Writer again(written);
  OutputHead{CKR_OK, 1}.Write(again);
  EXPECT_EQ(written.size(), OutputHead::kBytes);
  OutputHead{CKR_OK, bytes}.Rewrite({written.data(), written.size()});
  EXPECT_TRUE(Equal(written.view(), results.view().first(OutputHead::kBytes)));
}

TEST(Bulk, AnAnswerIsTheCodecsHeadAndTheOutput) {
  for (const std::size_t bytes : {1u, 100u, 70'000u}) {
    ExpectTheSameResults<spec::CallId::C_Encrypt>(bytes);
    ExpectTheSameResults<spec::CallId::C_Decrypt>(bytes);
  }
}

TEST(Bulk, AHeadIsExactlyTwoNumbers) {
  const Bytes bytes(OutputHead::kBytes + 1);
  for (std::size_t size = 0; size <= bytes.size(); ++size)
    EXPECT_EQ(OutputHead::Read(ByteView(bytes).first(size)).has_value(), size == OutputHead::kBytes);
}

}  // namespace
}  // namespace cmkd::wire
