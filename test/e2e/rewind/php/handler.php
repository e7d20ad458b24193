<?php
function places(): array
{
    return [
        'variable' => [function () { $GLOBALS['kept'] = 'kept'; }, fn () => $GLOBALS['kept'] ?? null],
        'constant' => [function () { define('KEPT', 'kept'); }, fn () => defined('KEPT') ? KEPT : null],
        'environment' => [function () { putenv('KEPT=kept'); }, fn () => getenv('KEPT') ?: null],
        'setting' => [function () { ini_set('precision', '5'); }, fn () => ini_get('precision') === '5' ? '5' : null],
        'memory' => [function () { $GLOBALS['much'] = str_repeat('k', 32 << 20); }, fn () => isset($GLOBALS['much']) ? 'kept' : null],
        'file' => [function () { file_put_contents('/tmp/kept', 'kept'); }, fn () => file_exists('/tmp/kept') ? 'kept' : null],
        'descriptor' => [function () { $GLOBALS['file'] = fopen('/tmp/open', 'w'); }, fn () => isset($GLOBALS['file']) || file_exists('/tmp/open') ? 'kept' : null],
        'seed' => [function () { mt_srand(7); }, fn () => mt_rand() === (function () { mt_srand(7); return mt_rand(); })() ? 'kept' : null],
        'shared' => [function () { file_put_contents('/dev/shm/kept', 'kept'); }, fn () => file_exists('/dev/shm/kept') ? 'kept' : null],
        'umask' => [function () { umask(070); }, fn () => umask(022) === 070 ? 'kept' : null],
        'directory' => [function () { chdir('/usr'); }, fn () => getcwd() === '/function' ? null : getcwd()],
    ];
}

function handler(array $event, $context)
{
    [, $what, $place] = explode('/', $event['rawPath']) + [2 => ''];
    if ($what === 'list') {
        return array_keys(places());
    }
    [$hide, $find] = places()[$place];
    if ($what === 'hide') {
        $hide();
    }
    return ['pid' => getmypid(), 'found' => $what === 'hide' ? null : $find()];
}
