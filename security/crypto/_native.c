/* The hot path of sealing in C: the two classes of reference.py, byte for byte, on the libcrypto of the system.
 *
 * Nothing here decides anything: what a document or a wrapped key holds, and why one is refused, is Python's business.
 * `open` and `unwrap` say None for "this isn't it" and nothing else. The rules of this file:
 *   - arguments are `bytes` of checked lengths, which nobody can change meanwhile, so there is no buffer to release;
 *   - a commitment, tag or check value is compared in constant time, and before anything is handed out;
 *   - keys and what lies between are wiped on every path, also those of errors;
 *   - each return code of OpenSSL is looked at, and no error names a value;
 *   - the GIL is held throughout: a call takes a microsecond.
 *
 * OpenSSL marks SHA256_* as old, because they don't go through its providers. They are what makes this file worth
 * while: a keyed state of HMAC is a struct that is copied, where EVP allocates. AES goes through EVP.
 */
#define PY_SSIZE_T_CLEAN
#define OPENSSL_SUPPRESS_DEPRECATED
#include <Python.h>

#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#define HASH SHA256_DIGEST_LENGTH
#define KEY 32      /* of AES-256, a data key and a key-encryption key */
#define WRAPPED 40  /* a key wrapped after RFC 3394 */
#define CHECK 8     /* check value of a data key */
/* A document: format, suite, kid, salt, commitment, nonce, ciphertext, tag. */
#define KID 16
#define SALT 16
#define NONCE 12
#define TAG 16
#define AT_SALT (2 + KID)
#define AT_COMMITMENT (AT_SALT + SALT)
#define AT_NONCE (AT_COMMITMENT + HASH)
#define AT_BODY (AT_NONCE + NONCE)

static const unsigned char GCM_MARK[2] = {1, 1};
/* The check block of a wrapped key (RFC 3394, 2.2.3.1). */
static const unsigned char WRAP_MARK[8] = {0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6};
static const char CHECK_LABEL[] = "kontor/kcv/v1";
/* With the zero that ends a string in C and a label in KBKDF. */
static const char DOCUMENT_LABEL[] = "kontor/doc/v1";
static const char WRAP_LABEL[] = "kontor/dek-wrap/v1";

/* Fetched once for the life of the process; OpenSSL lets all threads use them. */
static EVP_CIPHER *aes_gcm, *aes_ecb;

static const unsigned char *data(PyObject *bytes)
{
    return (const unsigned char *)PyBytes_AS_STRING(bytes);
}

/* Derivation ----------------------------------------------------------------------------------------------------- */

/* HMAC-SHA-256 (FIPS 198-1) with the key already absorbed on both sides. */
typedef struct {
    SHA256_CTX inner, outer;
} Hmac;

static int hmac_prepare(Hmac *hmac, const unsigned char key[KEY])
{
    unsigned char pad[SHA256_CBLOCK];
    int i, good;

    memset(pad, 0x36, sizeof pad);
    for (i = 0; i < KEY; i++)
        pad[i] ^= key[i];
    good = SHA256_Init(&hmac->inner) && SHA256_Update(&hmac->inner, pad, sizeof pad);
    for (i = 0; i < SHA256_CBLOCK; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    good = good && SHA256_Init(&hmac->outer) && SHA256_Update(&hmac->outer, pad, sizeof pad);
    OPENSSL_cleanse(pad, sizeof pad);
    return good;
}

static int hmac_finish(const Hmac *hmac, SHA256_CTX *state, unsigned char out[HASH])
{
    unsigned char digest[HASH];
    int good = SHA256_Final(digest, state);

    *state = hmac->outer;
    good = good && SHA256_Update(state, digest, HASH) && SHA256_Final(out, state);
    OPENSSL_cleanse(digest, sizeof digest);
    OPENSSL_cleanse(state, sizeof *state);
    return good;
}

/* One block of KBKDF in counter mode (SP 800-108r1, 4.1): [i] | label | 0 | context | [L], L being `bits`. */
static int kbkdf(const Hmac *hmac, unsigned char block, const char *label, size_t label_size,
                 const unsigned char *context, size_t context_size, unsigned int bits, unsigned char out[HASH])
{
    const unsigned char counter[4] = {0, 0, 0, block};
    const unsigned char length[4] = {0, 0, (unsigned char)(bits >> 8), (unsigned char)bits};
    SHA256_CTX state = hmac->inner;

    if (!SHA256_Update(&state, counter, 4) || !SHA256_Update(&state, label, label_size) ||
        !SHA256_Update(&state, context, context_size) || !SHA256_Update(&state, length, 4)) {
        OPENSSL_cleanse(&state, sizeof state);
        return 0;
    }
    return hmac_finish(hmac, &state, out);
}

static int check_value(const Hmac *hmac, unsigned char out[HASH])
{
    SHA256_CTX state = hmac->inner;

    if (!SHA256_Update(&state, CHECK_LABEL, sizeof CHECK_LABEL - 1)) {
        OPENSSL_cleanse(&state, sizeof state);
        return 0;
    }
    return hmac_finish(hmac, &state, out);
}

/* What the two blocks of a document are derived from: its salt and the hash of its associated data. */
static int document_context(const unsigned char *salt, PyObject *aad, unsigned char context[SALT + HASH])
{
    SHA256_CTX state;

    memcpy(context, salt, SALT);
    return SHA256_Init(&state) && SHA256_Update(&state, data(aad), (size_t)PyBytes_GET_SIZE(aad)) &&
           SHA256_Final(context + SALT, &state);
}

static int document_block(const Hmac *hmac, unsigned char block, const unsigned char context[SALT + HASH],
                          unsigned char out[HASH])
{
    return kbkdf(hmac, block, DOCUMENT_LABEL, sizeof DOCUMENT_LABEL, context, SALT + HASH, 2 * HASH * 8, out);
}

/* Ciphers -------------------------------------------------------------------------------------------------------- */

/* 1: done; 0: the tag doesn't fit; -1: the library failed. Sizes fit an int; `tag` is read or written. */
static int gcm(int encrypt, const unsigned char key[KEY], const unsigned char *nonce, PyObject *aad,
               const unsigned char *in, int size, unsigned char *out, unsigned char *tag)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, result = -1;

    if (ctx != NULL && EVP_CipherInit_ex2(ctx, aes_gcm, key, nonce, encrypt, NULL) == 1 &&
        (encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1) &&
        EVP_CipherUpdate(ctx, NULL, &n, data(aad), (int)PyBytes_GET_SIZE(aad)) == 1 &&
        (size == 0 || (EVP_CipherUpdate(ctx, out, &n, in, size) == 1 && n == size))) {
        if (!encrypt)
            result = EVP_CipherFinal_ex(ctx, out + size, &n) == 1;
        else if (EVP_CipherFinal_ex(ctx, out + size, &n) == 1 &&
                 EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, tag) == 1)
            result = 1;
    }
    EVP_CIPHER_CTX_free(ctx); /* It wipes the key schedule. */
    if (result != 1)
        ERR_clear_error(); /* What is left in the queue would be read by Python's ssl. */
    return result;
}

/* AES-256-KW of one key (RFC 3394, 2.2.1 and 2.2.2), in place: `blocks` are the check block and the four of the key.
 * 1: done, 0: the library failed. Its own EVP_aes_256_wrap takes four times as long, without the processor's AES. */
static int key_wrap(int wrap, const unsigned char key[KEY], unsigned char blocks[WRAPPED])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char block[16];
    int good, i, n;

    good = ctx != NULL && EVP_CipherInit_ex2(ctx, aes_ecb, key, NULL, wrap, NULL) == 1 &&
           EVP_CIPHER_CTX_set_padding(ctx, 0) == 1;
    memcpy(block, blocks, 8);
    for (i = 0; good && i < 24; i++) {
        const int step = wrap ? i : 23 - i;
        unsigned char *place = blocks + 8 * (1 + step % 4);

        if (!wrap)
            block[7] ^= (unsigned char)(step + 1);
        memcpy(block + 8, place, 8);
        good = EVP_CipherUpdate(ctx, block, &n, block, 16) == 1 && n == 16;
        if (wrap)
            block[7] ^= (unsigned char)(step + 1);
        memcpy(place, block + 8, 8);
    }
    memcpy(blocks, block, 8);
    OPENSSL_cleanse(block, sizeof block);
    EVP_CIPHER_CTX_free(ctx);
    if (!good)
        ERR_clear_error();
    return good;
}

/* Arguments ------------------------------------------------------------------------------------------------------ */

static PyObject *failed(void)
{
    ERR_clear_error();
    PyErr_SetString(PyExc_RuntimeError, "OpenSSL failed.");
    return NULL;
}

/* Whether there are `count` arguments, all of them bytes that OpenSSL can measure; an exception is set where not. */
static int are_bytes(PyObject *const *args, Py_ssize_t given, Py_ssize_t count)
{
    if (given != count) {
        PyErr_Format(PyExc_TypeError, "%zd arguments were expected.", count);
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!PyBytes_Check(args[i])) {
            PyErr_SetString(PyExc_TypeError, "Bytes were expected.");
            return 0;
        }
        if (PyBytes_GET_SIZE(args[i]) > INT_MAX - AT_BODY - TAG) {
            PyErr_SetString(PyExc_OverflowError, "What is sealed at once is smaller than 2 GiB.");
            return 0;
        }
    }
    return 1;
}

static int has_size(PyObject *bytes, Py_ssize_t size)
{
    if (PyBytes_GET_SIZE(bytes) == size)
        return 1;
    PyErr_Format(PyExc_ValueError, "%zd bytes were expected.", size);
    return 0;
}

/* The classes ---------------------------------------------------------------------------------------------------- */

/* Both classes hold a prepared key and nothing else. */
typedef struct {
    PyObject_HEAD
    Hmac hmac;
} Cipher;

static PyObject *cipher_new(PyTypeObject *type, PyObject *args, PyObject *names)
{
    PyObject *key;
    Cipher *self;

    if (names != NULL && PyDict_GET_SIZE(names) != 0) {
        PyErr_SetString(PyExc_TypeError, "The key is given by its place.");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "S", &key) || !has_size(key, KEY))
        return NULL;
    self = (Cipher *)type->tp_alloc(type, 0);
    if (self != NULL && !hmac_prepare(&self->hmac, data(key))) {
        Py_DECREF(self);
        return failed();
    }
    return (PyObject *)self;
}

static void cipher_dealloc(Cipher *self)
{
    PyTypeObject *type = Py_TYPE(self);

    OPENSSL_cleanse(&self->hmac, sizeof self->hmac);
    type->tp_free(self);
    Py_DECREF(type);
}

/* open(blob, aad) -> bytes | None */
static PyObject *document_open(Cipher *self, PyObject *const *args, Py_ssize_t given)
{
    unsigned char context[SALT + HASH], commitment[HASH], key[HASH], tag[TAG];
    const unsigned char *blob;
    Py_ssize_t size;
    PyObject *content;
    int result;

    if (!are_bytes(args, given, 2))
        return NULL;
    blob = data(args[0]);
    size = PyBytes_GET_SIZE(args[0]) - AT_BODY - TAG;
    if (size < 0 || memcmp(blob, GCM_MARK, sizeof GCM_MARK) != 0)
        Py_RETURN_NONE;
    if (!document_context(blob + AT_SALT, args[1], context) ||
        !document_block(&self->hmac, 2, context, commitment))
        return failed();
    if (CRYPTO_memcmp(commitment, blob + AT_COMMITMENT, HASH) != 0)
        Py_RETURN_NONE;
    content = PyBytes_FromStringAndSize(NULL, size);
    if (content == NULL)
        return NULL;
    memcpy(tag, blob + AT_BODY + size, TAG);
    result = !document_block(&self->hmac, 1, context, key)
                 ? -1
                 : gcm(0, key, blob + AT_NONCE, args[1], blob + AT_BODY, (int)size,
                       (unsigned char *)PyBytes_AS_STRING(content), tag);
    OPENSSL_cleanse(key, sizeof key);
    if (result == 1)
        return content;
    OPENSSL_cleanse(PyBytes_AS_STRING(content), (size_t)size); /* GCM decrypts before it knows the tag. */
    Py_DECREF(content);
    if (result < 0)
        return failed();
    Py_RETURN_NONE;
}

/* seal(kid, random, aad, content) -> bytes */
static PyObject *document_seal(Cipher *self, PyObject *const *args, Py_ssize_t given)
{
    unsigned char context[SALT + HASH], key[HASH], *blob;
    Py_ssize_t size;
    PyObject *document;
    int good;

    if (!are_bytes(args, given, 4) || !has_size(args[0], KID) || !has_size(args[1], SALT + NONCE))
        return NULL;
    size = PyBytes_GET_SIZE(args[3]);
    document = PyBytes_FromStringAndSize(NULL, AT_BODY + size + TAG);
    if (document == NULL)
        return NULL;
    blob = (unsigned char *)PyBytes_AS_STRING(document);
    memcpy(blob, GCM_MARK, sizeof GCM_MARK);
    memcpy(blob + sizeof GCM_MARK, data(args[0]), KID);
    memcpy(blob + AT_SALT, data(args[1]), SALT);
    memcpy(blob + AT_NONCE, data(args[1]) + SALT, NONCE);
    good = document_context(blob + AT_SALT, args[2], context) &&
           document_block(&self->hmac, 2, context, blob + AT_COMMITMENT) &&
           document_block(&self->hmac, 1, context, key) &&
           gcm(1, key, blob + AT_NONCE, args[2], data(args[3]), (int)size, blob + AT_BODY,
               blob + AT_BODY + size) == 1;
    OPENSSL_cleanse(key, sizeof key);
    if (good)
        return document;
    Py_DECREF(document);
    return failed();
}

/* check_value() -> bytes */
static PyObject *document_check_value(Cipher *self, PyObject *Py_UNUSED(ignored))
{
    unsigned char value[HASH];
    PyObject *answer;

    if (!check_value(&self->hmac, value))
        return failed();
    answer = PyBytes_FromStringAndSize((const char *)value, CHECK);
    OPENSSL_cleanse(value, sizeof value); /* All but the first bytes are as good as a key. */
    return answer;
}

/* The key that wraps a data key of one context. */
static int wrapping_key(const Hmac *hmac, PyObject *context, unsigned char key[HASH])
{
    return kbkdf(hmac, 1, WRAP_LABEL, sizeof WRAP_LABEL, data(context), (size_t)PyBytes_GET_SIZE(context), KEY * 8,
                 key);
}

/* wrap(dek, context) -> bytes */
static PyObject *wrapping_wrap(Cipher *self, PyObject *const *args, Py_ssize_t given)
{
    unsigned char key[HASH], blocks[WRAPPED];
    int good;

    if (!are_bytes(args, given, 2) || !has_size(args[0], KEY))
        return NULL;
    memcpy(blocks, WRAP_MARK, 8);
    memcpy(blocks + 8, data(args[0]), KEY);
    good = wrapping_key(&self->hmac, args[1], key) && key_wrap(1, key, blocks);
    OPENSSL_cleanse(key, sizeof key);
    if (good)
        return PyBytes_FromStringAndSize((const char *)blocks, WRAPPED);
    OPENSSL_cleanse(blocks, sizeof blocks);
    return failed();
}

/* unwrap(wrapped, context, kcv) -> bytes | None */
static PyObject *wrapping_unwrap(Cipher *self, PyObject *const *args, Py_ssize_t given)
{
    unsigned char key[HASH], blocks[WRAPPED], value[HASH];
    PyObject *answer = NULL;
    Hmac hmac;

    if (!are_bytes(args, given, 3))
        return NULL;
    if (PyBytes_GET_SIZE(args[0]) != WRAPPED || PyBytes_GET_SIZE(args[2]) != CHECK)
        Py_RETURN_NONE;
    memcpy(blocks, data(args[0]), WRAPPED);
    if (!wrapping_key(&self->hmac, args[1], key) || !key_wrap(0, key, blocks) || !hmac_prepare(&hmac, blocks + 8) ||
        !check_value(&hmac, value))
        answer = failed();
    else if (CRYPTO_memcmp(blocks, WRAP_MARK, 8) != 0 || CRYPTO_memcmp(value, data(args[2]), CHECK) != 0)
        answer = Py_NewRef(Py_None);
    else
        answer = PyBytes_FromStringAndSize((const char *)blocks + 8, KEY);
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_cleanse(blocks, sizeof blocks);
    OPENSSL_cleanse(value, sizeof value);
    OPENSSL_cleanse(&hmac, sizeof hmac);
    return answer;
}

/* The module ----------------------------------------------------------------------------------------------------- */

#define FAST(function) ((PyCFunction)(void (*)(void))(function))
#define FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE)

static PyMethodDef document_methods[] = {
    {"open", FAST(document_open), METH_FASTCALL, NULL},
    {"seal", FAST(document_seal), METH_FASTCALL, NULL},
    {"check_value", FAST(document_check_value), METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef wrapping_methods[] = {
    {"wrap", FAST(wrapping_wrap), METH_FASTCALL, NULL},
    {"unwrap", FAST(wrapping_unwrap), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot document_slots[] = {
    {Py_tp_new, cipher_new},
    {Py_tp_dealloc, cipher_dealloc},
    {Py_tp_methods, document_methods},
    {0, NULL},
};

static PyType_Slot wrapping_slots[] = {
    {Py_tp_new, cipher_new},
    {Py_tp_dealloc, cipher_dealloc},
    {Py_tp_methods, wrapping_methods},
    {0, NULL},
};

static PyType_Spec document_spec = {"security.crypto._native.DocumentCipher", sizeof(Cipher), 0, FLAGS, document_slots};
static PyType_Spec wrapping_spec = {"security.crypto._native.WrapCipher", sizeof(Cipher), 0, FLAGS, wrapping_slots};

static int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);

    Py_XDECREF(type);
    return result;
}

static int execute(PyObject *module)
{
    if (aes_gcm == NULL)
        aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (aes_ecb == NULL)
        aes_ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
    if (aes_gcm == NULL || aes_ecb == NULL) {
        ERR_clear_error();
        PyErr_SetString(PyExc_ImportError, "The libcrypto of the system has no AES-256-GCM or no AES-256-ECB.");
        return -1;
    }
    if (add_type(module, &document_spec) < 0 || add_type(module, &wrapping_spec) < 0)
        return -1;
    return PyModule_AddStringConstant(module, "LIBRARY", OpenSSL_version(OPENSSL_VERSION));
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "security.crypto._native",
    .m_doc = "The hot path of sealing on the libcrypto of the system; the same as security.crypto.reference.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&module);
}
