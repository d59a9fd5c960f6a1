// Keys that come out of something: unwrapped, decapsulated, opened with associated data. What is common to the ways.
#pragma once

#include "daemon/service/key_template.h"
#include "daemon/service/key_use.h"

namespace cmkd::daemon {

// What a way of opening needs to know of itself.
struct Opening {
  const spec::MechanismRow* row = nullptr;
  ObjectPtr key;                          // that opens
  CK_ATTRIBUTE_TYPE forced_template = 0;  // CKA_UNWRAP_TEMPLATE and its kin
  spec::Verb verb = spec::Verb::kUnwrap;
};

// Makes the new key with one version of the opening key.
using Opener = std::function<Fallible<Made>(Backend&, const Candidate&, CK_OBJECT_CLASS, CK_KEY_TYPE,
                                            CK_ULONG value_bytes, const WrappingKey&)>;

// The opening key of a handle, checked: class, type, size, usage. Errors have the names of C_UnwrapKey.
Fallible<ObjectPtr> FindOpeningKey(Invocation& invocation, const spec::MechanismRow& row, CK_OBJECT_HANDLE handle,
                                   CK_ATTRIBUTE_TYPE usage);

// Checks the template, opens with each version of the key that may fit, keeps what came out, and gives its handle.
Status OpenKey(Invocation& invocation, const Opening& opening, std::span<const CK_ATTRIBUTE> attributes,
               const Opener& open, CK_OBJECT_HANDLE& handle);

// Whether `key` may leave under `wrapping`: the rules of C_WrapKey, in its codes.
Status CheckWrapping(Invocation& invocation, const spec::MechanismRow& row, const Object& wrapping, const Object& key,
                     IvFrom iv);

}  // namespace cmkd::daemon
