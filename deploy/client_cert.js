// RFC 9440: the client's certificate as a Structured Field byte sequence, `:` base64 of the DER `:`; empty without one.
function header(r) {
    const pem = r.variables.ssl_client_raw_cert;
    return pem ? ':' + pem.replace(/-----(BEGIN|END) CERTIFICATE-----|\s/g, '') + ':' : '';
}

export default { header };
