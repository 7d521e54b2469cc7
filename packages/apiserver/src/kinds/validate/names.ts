/**
 * The syntax rules for names, in the words of k8s.io/apimachinery/pkg/util/validation. Every function returns what is
 * wrong, empty when nothing is.
 */
type Rule = (value: string) => string[];

function regexError(message: string, pattern: string, ...examples: string[]): string {
  if (examples.length === 0) return `${message} (regex used for validation is '${pattern}')`;
  return `${message} (e.g. ${examples.map((e) => `'${e}', `).join(' or ')}regex used for validation is '${pattern}')`;
}

const tooLong = (max: number): string => `must be no more than ${max} characters`;

function patternRule(pattern: string, max: number, message: string, ...examples: string[]): Rule {
  const regex = new RegExp(`^(?:${pattern})$`);
  return (value) => [
    ...(value.length > max ? [tooLong(max)] : []),
    ...(regex.test(value) ? [] : [regexError(message, pattern, ...examples)]),
  ];
}

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;

export const dnsLabel: Rule = patternRule(
  LABEL,
  63,
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  'my-name',
  '123-abc',
);

export const dnsSubdomain: Rule = patternRule(
  SUBDOMAIN,
  253,
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  'example.com',
);

export const dns1035Label: Rule = patternRule(
  '[a-z]([-a-z0-9]*[a-z0-9])?',
  63,
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
  'my-name',
  'abc-123',
);

export const wildcardSubdomain: Rule = patternRule(
  `\\*\\.${SUBDOMAIN}`,
  253,
  "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
  '*.example.com',
);

export const labelValue: Rule = patternRule(
  '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?',
  63,
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  'MyValue',
  'my_value',
  '12345',
);

export const configMapKey: Rule = (value) => {
  const errors = patternRule(
    '[-._a-zA-Z0-9]+',
    253,
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    'key.name',
    'KEY_NAME',
    'key-name',
  )(value);
  if (value === '.') errors.push("must not be '.'");
  else if (value === '..') errors.push("must not be '..'");
  else if (value.startsWith('..')) errors.push("must not start with '..'");
  return errors;
};

/** Environment variable names as of relaxed validation (KEP-4369): printable ASCII but `=`. */
export const envVarName: Rule = (value) => {
  const errors: string[] = [];
  if (value === '') errors.push('environment variable name must not be empty'); // callers say "Required value" first
  if (!/^[ -<>-~]+$/.test(value)) {
    errors.push(
      regexError(
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
        '^[ -<>-~]+$',
      ),
    );
  }
  return errors;
};

/** Port names of containers and Services' numeric-or-name target ports (RFC 6335). */
export const portName: Rule = (value) => {
  const errors: string[] = [];
  if (value.length > 15) errors.push('must be no more than 15 characters');
  if (!/^[-a-z0-9]+$/.test(value))
    errors.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!/[a-z]/.test(value)) errors.push('must contain at least one letter (a-z)');
  if (value.includes('--')) errors.push('must not contain consecutive hyphens');
  if (value !== '' && (value.startsWith('-') || value.endsWith('-'))) {
    errors.push('must not begin or end with a hyphen');
  }
  return errors;
};

export const pathSegment: Rule = (value) => {
  if (value === '.' || value === '..') return [`may not be '${value}'`];
  return ['/', '%'].filter((c) => value.includes(c)).map((c) => `may not contain '${c}'`);
};

const NAME_PART = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const NAME_MESSAGE =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const NAME_EXAMPLES = ['MyName', 'my.name', '123-abc'];

/** Keys of labels and annotations: `[prefix/]name`. */
export const qualifiedName: Rule = (value) => {
  const parts = value.split('/');
  if (parts.length > 2) {
    const message = regexError(`a qualified name ${NAME_MESSAGE}`, NAME_PART, ...NAME_EXAMPLES);
    return [`${message} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`];
  }
  const errors: string[] = [];
  const name = parts.at(-1) ?? '';
  if (parts.length === 2) {
    const prefix = parts[0] ?? '';
    if (prefix === '') errors.push('prefix part must be non-empty');
    else errors.push(...dnsSubdomain(prefix).map((e) => `prefix part ${e}`));
  }
  if (name === '') errors.push('name part must be non-empty');
  else if (name.length > 63) errors.push(`name part ${tooLong(63)}`);
  if (!new RegExp(`^(?:${NAME_PART})$`).test(name)) {
    errors.push(`name part ${regexError(NAME_MESSAGE, NAME_PART, ...NAME_EXAMPLES)}`);
  }
  return errors;
};
