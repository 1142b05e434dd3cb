#include "net/digest.h"

#include <errno.h>
#include <openssl/evp.h>

int digest_md5(const struct span *pieces, size_t count,
	       uint8_t ret[static DIGEST_MD5_SIZE])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool fine;

	if (!context)
		return -ENOMEM;
	fine = EVP_DigestInit_ex(context, EVP_md5(), NULL) == 1;
	for (size_t i = 0; fine && i < count; i++)
		fine = EVP_DigestUpdate(context, pieces[i].ptr,
					pieces[i].len) == 1;
	fine = fine && EVP_DigestFinal_ex(context, ret, NULL) == 1;
	EVP_MD_CTX_free(context);
	return fine ? 0 : -ENOTSUP;
}
